// The pages behind links in mails. The token is the fragment of the address, which browsers never send to a server;
// the page sends nothing before the user presses the button.

const form = document.querySelector("form");
const button = form.querySelector("button");
const field = document.querySelector("#field"); // not on every page
const password = document.querySelector("#password");
const show = document.querySelector("#show");
const message = document.querySelector("#message");
const done = document.querySelector("#done");
const next = document.querySelector("#next");
const hiddenAtFirst = field !== null && field.hidden;

let token = "";

// Always as text: answers must not add markup to this page.
function say(text) {
  message.textContent = text;
}

function askForPassword(asked) {
  if (field !== null) {
    field.hidden = !asked;
    password.disabled = !asked;
    password.value = "";
  }
}

function takeToken() {
  token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  // Removes the token from the history and the address bar.
  history.replaceState(null, "", location.pathname);
  askForPassword(!hiddenAtFirst);
  form.hidden = token === "";
  done.textContent = "";
  next.hidden = token !== "";
  say(token === "" ? "This link is not complete. Open it from the mail again." : "");
}

async function send() {
  const asked = field !== null && !field.hidden;
  const answer = await fetch(form.dataset.path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(asked ? { token, [form.dataset.name]: password.value } : { token }),
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
    referrerPolicy: "no-referrer",
  });
  if (answer.ok) {
    token = "";
    askForPassword(false);
    form.hidden = true;
    next.hidden = false;
    done.textContent = form.dataset.done;
    done.focus();
    return;
  }
  const problem = await answer.json().catch(() => ({}));
  const flaws = Array.isArray(problem.errors) ? problem.errors : [];
  if (answer.status === 400 && hiddenAtFirst && !asked && flaws.some((flaw) => flaw.pointer === "/password")) {
    askForPassword(true);
    password.focus();
    return;
  }
  if (flaws.some((flaw) => flaw.pointer === "/token")) {
    // Another attempt cannot succeed.
    token = "";
    form.hidden = true;
    next.hidden = false;
  }
  say(explained(answer, problem, flaws));
}

// The problem in the words of a person: names of fields are for programs.
function explained(answer, problem, flaws) {
  const [flaw] = flaws;
  if (flaw !== undefined && flaw.pointer === "/token") {
    return "This link is no longer valid: it was used, it is too old, or a newer mail replaced it. Request a new mail.";
  }
  if (flaw !== undefined && `/${form.dataset.name}` === flaw.pointer) {
    return `The password ${flaw.detail}.`;
  }
  if (answer.status === 429 || answer.status === 503) {
    const seconds = Number(answer.headers.get("retry-after") ?? "60");
    const minutes = Math.max(1, Math.ceil(seconds / 60));
    return `The service is busy, or there were too many attempts. Try again in ${minutes === 1 ? "a minute" : `${minutes} minutes`}.`;
  }
  return typeof problem.title === "string" ? `${problem.title}.` : "The request failed. Try again in a moment.";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (button.disabled) {
    return;
  }
  button.disabled = true;
  say("");
  try {
    await send();
  } catch {
    say("The service cannot be reached. Try again in a moment.");
  } finally {
    button.disabled = false;
  }
});

if (show !== null) {
  show.addEventListener("change", () => {
    password.type = show.checked ? "text" : "password";
  });
}

// Another link of this kind was opened in the same tab.
addEventListener("hashchange", takeToken);
takeToken();
