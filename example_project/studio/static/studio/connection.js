// A page that stopped to be told has to say so.
for (const [event, hidden] of [["htmx:sendError", false], ["htmx:timeout", false], ["htmx:afterOnLoad", true]]) {
  document.addEventListener(event, () => {
    document.getElementById("offline").hidden = hidden;
  });
}
