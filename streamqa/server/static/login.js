// The login page: the token goes to the server once, and comes back as a cookie that no script can read.

const form = document.getElementById("login");
const field = document.getElementById("token");
const note = document.getElementById("note");
const here = new URL(".", document.baseURI).href;

async function reasonOf(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `the server answered ${response.status}`;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  note.hidden = true;
  try {
    const response = await fetch("login", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token: field.value.trim() }),
    });
    if (response.ok) {
      location.replace(here);
      return;
    }
    note.textContent = await reasonOf(response);
  } catch {
    note.textContent = "the server does not answer";
  }
  field.value = "";
  field.focus();
  note.hidden = false;
});

// Whoever followed a link from another site is logged in, but the cookie did not come along with that request.
if (!sessionStorage.getItem("asked")) {
  sessionStorage.setItem("asked", "1");
  fetch("api/visitor").then((response) => response.ok && location.replace(here)).catch(() => {});
} else {
  sessionStorage.removeItem("asked");
}
