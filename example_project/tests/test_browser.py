"""The studio as somebody uses it: in a real browser, wide and narrow, light and dark."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model

from example_project.studio.models import Commission
from gemini_webhooks.models import ResultFile
from tests.browser.fixtures import needs_a_browser

MARK = "window.notReloaded = true"
#: Browsers without H.264 have nothing to show.
PLAY = """(async () => {
    const video = document.querySelector("video");
    video.muted = true;
    if (!video.canPlayType('video/mp4; codecs="avc1.42E01E"')) return true;
    await video.play();
    return video.videoWidth === 320;
})()"""


@pytest.fixture(autouse=True)
def browser() -> None:
    needs_a_browser()


@pytest.fixture
def person(sit_down, ada, google):
    return sit_down(ada)


def test_a_batch_is_seen_to_end_without_a_reload(person, work):
    person.open("/")
    person.sees("Nothing yet.")
    person.look("studio-empty")
    person.tamper(MARK)

    person.fill("Requests", "A caption\nAnother one fail-row")
    person.click("Submit the batch")
    person.sees("A caption")
    person.sees("running")
    work()
    person.sees("done")
    assert person.evaluates("window.notReloaded")
    assert person.evaluates("document.getElementById('said').textContent") == "A caption: done"
    person.look("studio-one")

    person.follow("A caption")
    person.sees("Echo: A caption", "Its result is here.")
    person.look("studio-batch")


def test_a_person_is_asked_and_it_goes_on(person, work):
    person.open("/")
    person.unfold("Interaction")
    person.tick("It may publish what it writes")
    person.fill("Task", "need-action: a post about our lighthouse")
    person.click("Start the interaction")
    person.sees("running")
    work()
    person.sees("1 waits for approval.")
    person.look("studio-waiting")

    person.follow("need-action: a post about our lighthouse")
    person.sees("The model wants to publish")
    person.look("studio-approval")
    person.press("Grant")
    person.tamper(MARK)
    work()
    person.sees("Echo: Published.")
    assert person.evaluates("window.notReloaded")
    person.look("studio-granted")
    person.follow("What is published")
    person.sees("granted by ada")
    person.look("studio-published")


def test_an_answer_that_did_not_arrive_is_sent_again(person, asked, work, monkeypatch):
    person.open("/studio/acme/published/")
    person.sees("Nothing yet.")
    person.look("studio-published-empty")

    person.open(asked.get_absolute_url())
    with monkeypatch.context() as broken:
        broken.setenv("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
        person.press("Grant")
        person.sees(
            "The Gemini API did not take the answer",
            "It is not known whether the model has heard of it.",
        )
    person.look("studio-again")
    person.open("/studio/acme/")
    person.sees("answer not confirmed")
    person.look("studio-untold")
    person.open(asked.get_absolute_url())
    person.press("Send the answer again")
    work()
    person.sees("Echo: Published.")


def test_a_failure_says_why_and_leads_on(person, place, work):
    failed = place("batch", "fail-job")
    work()
    person.open(failed.get_absolute_url())
    person.sees("INTERNAL: ")
    person.look("studio-failed")
    person.press("Submit it again")
    person.sees("Submitted as")


def test_a_video_is_shown_and_says_when_it_is_gone(person, place, work):
    video = place("video", "Waves roll against a lighthouse")
    work()
    person.open(video.get_absolute_url())
    person.sees("Download")
    person.look("studio-video")
    assert person.evaluates(PLAY)

    ResultFile.objects.update(file="", state="removed")
    person.open(video.get_absolute_url())
    person.sees("It was removed after the time that results are kept.")


def test_long_and_hostile_texts(person, place, work, acme, ada):
    for prompt in ("a" * 300, "<script>alert(1)</script> & “so on”", "line\n" * 40):
        place("batch", prompt)
    work()
    for number in range(25):
        Commission.objects.create(
            tenant=acme, kind="interaction", prompt=f"{number} " + "🦭 " * 50, state="failed"
        )
    person.open("/studio/acme/")
    person.sees("Page 1 of 2")
    person.look("studio-many")
    person.follow("Older")
    person.look("studio-older")
    for commission in Commission.objects.filter(kind="batch"):
        person.open(commission.get_absolute_url())
        person.look("studio-hostile")


def test_a_mistake_is_shown_where_it_was_made(person):
    person.open("/")
    person.unfold("Video")
    person.tamper("document.querySelector('#video-prompt').required = false")
    person.click("Make the video")
    person.sees("Say what you would like to have.")
    person.look("studio-mistake")


def test_without_scripts_it_works_with_a_reload(sit_down, ada, google, work):
    person = sit_down(ada, javascript=False)
    person.open("/")
    person.fill("Requests", "A caption")
    person.press("Submit the batch")
    person.sees("A caption", "running")
    work()
    person.open("/studio/acme/")
    person.sees("done")


def test_a_site_that_does_not_answer_is_noticed_and_so_is_its_return(person, place, work):
    place("batch", "A caption")
    person.open("/studio/acme/")
    person.offline(True)
    person.expects("ERR_INTERNET_DISCONNECTED")
    person.sees("The site does not answer.")
    person.offline(False)
    work()
    person.sees("done")
    assert person.evaluates("document.getElementById('offline').hidden")
    person.troubles.clear()


def test_logging_in_and_out(sit_down, acme):
    user = get_user_model().objects.create_user("ada", password="let-me-in")
    acme.members.add(user)
    person = sit_down()
    person.open("/")
    person.look("studio-login")
    person.fill("Username", "ada")
    person.fill("Password", "wrong")
    person.press("Log in")
    person.sees("Please enter a correct username and password.")
    person.look("studio-login-wrong")
    person.fill("Password", "let-me-in")
    person.press("Log in")
    person.sees("Nothing yet.")
    person.press("Log out")
    person.sees("Log in")


def test_who_belongs_to_nobody(sit_down, transactional_db):
    person = sit_down(get_user_model().objects.create_superuser("root"))
    person.open("/")
    person.sees("No studio yet")
    person.look("studio-nowhere")


def test_the_keyboard_is_enough(person, work):
    person.open("/")
    person.tab_to("Requests")
    person.type("A caption")
    person.tab_to("Submit the batch")
    person.key("Enter")
    person.sees("running")
    work()
    person.sees("done")
    person.tab_to("A caption")
    person.submit_by_key("Enter")
    person.sees("Echo: A caption")


def test_a_day(person, place, work, settings):
    settings.STUDIO_RETRY_SECONDS = 3600
    place("video", "Waves roll against a lighthouse at dusk, seen from a drone")
    place("batch", "A caption for a lighthouse at night\nA caption for a harbour in the rain")
    place("batch", "Captions for the whole catalogue (fail-job)")
    place("interaction", "Write about our lighthouse tour (need-action)", may_publish="on")
    work()
    place("batch", "One line for each of our gulls (take-60s)\nAnd one for the seal")
    person.open("/studio/acme/")
    person.sees("1 waits for approval.", "failed, is tried again", "done", "running")
    person.look("studio-day")
