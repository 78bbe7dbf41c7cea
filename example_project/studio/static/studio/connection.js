// A page that stopped to be told has to say so.
const show = (isOffline) => { document.getElementById("offline").hidden = !isOffline; };
for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
  document.addEventListener(name, () => show(true));
}
document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) show(false); });
