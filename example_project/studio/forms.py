"""What can be asked for."""

from __future__ import annotations

from django import forms
from django.http import QueryDict

from example_project.studio.models import Commission

MOST_REQUESTS = 500
LONGEST_PROMPT = 20_000


class CommissionForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    """A prompt; the ids of its fields say which kind it is for, as a page has three of them."""

    kind: Commission.Kind
    label: str
    help_text: str
    button: str
    example: str

    class Meta:
        model = Commission
        fields = ["prompt"]

    def __init__(self, data: QueryDict | None = None) -> None:
        super().__init__(data, auto_id=f"{self.kind}-%s", label_suffix="")
        prompt = self.fields["prompt"]
        assert isinstance(prompt, forms.CharField)  # noqa: S101  # the model says so
        prompt.label, prompt.help_text = self.label, self.help_text
        prompt.widget = forms.Textarea(
            attrs={"rows": 3, "placeholder": self.example, "maxlength": LONGEST_PROMPT}
        )
        prompt.error_messages["required"] = "Say what you would like to have."

    def clean_prompt(self) -> str:
        """Not longer than is good."""
        prompt: str = self.cleaned_data["prompt"]
        if len(prompt) > LONGEST_PROMPT:
            raise forms.ValidationError(f"No more than {LONGEST_PROMPT:,} characters, please.")
        return prompt


class BatchForm(CommissionForm):
    """Many requests at once."""

    kind = Commission.Kind.BATCH
    label = "Requests"
    help_text = "One on each line."
    button = "Submit the batch"
    example = "A caption for a photo of a lighthouse at night\nA caption for a photo of a harbour"

    def clean_prompt(self) -> str:
        """Not more of them than a page can show."""
        prompt = super().clean_prompt()
        count = sum(1 for line in prompt.splitlines() if line.strip())
        if count > MOST_REQUESTS:
            raise forms.ValidationError(f"{count} requests; {MOST_REQUESTS} are the most.")
        return prompt


class InteractionForm(CommissionForm):
    """Something that the model may take its time for."""

    kind = Commission.Kind.INTERACTION
    label = "Task"
    help_text = "The model works in the background."
    button = "Start the interaction"
    example = "Write a post about our new lighthouse tour, and publish it on the blog"

    class Meta(CommissionForm.Meta):
        fields = ["prompt", "may_publish"]
        labels = {"may_publish": "It may publish what it writes, after somebody has approved"}


class VideoForm(CommissionForm):
    """A film."""

    kind = Commission.Kind.VIDEO
    label = "Scene"
    help_text = "What the video shows."
    button = "Make the video"
    example = "Waves roll against a lighthouse at dusk, seen from a drone"


FORMS: dict[str, type[CommissionForm]] = {
    form.kind.value: form for form in (BatchForm, InteractionForm, VideoForm)
}
