// Logging out, and back to the login page when the session is over. Where there are no tokens, nothing is shown.

const CHECK_EVERY_MS = 60000;
const button = document.getElementById("logout");
const here = new URL(".", document.baseURI).href;

async function check() {
  const response = await fetch("api/visitor").catch(() => null); // no answer: the page says so by itself
  if (response?.status === 401) location.replace(here);
  if (response?.ok) button.hidden = !(await response.json()).session;
}

button.addEventListener("click", async () => {
  await fetch("logout", { method: "POST" });
  location.replace(here);
});

document.addEventListener("visibilitychange", () => document.hidden || check());
new MutationObserver(check).observe(document.getElementById("connection"), { attributeFilter: ["data-state"] });
setInterval(check, CHECK_EVERY_MS);
check();
