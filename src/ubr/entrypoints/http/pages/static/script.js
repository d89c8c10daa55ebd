// What the pages do more where scripts run. Without it every form works.

// The token of a mailed link is the fragment of the address, which browsers never send to a server by themselves. It
// goes into the form, and out of the history and the address bar.
function takeToken() {
  const field = document.querySelector("[data-token]");
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (field === null || token === null) {
    return;
  }
  history.replaceState(null, "", location.pathname + location.search);
  field.value = token;
  field.closest(".field").hidden = true;
}

takeToken();
// Another link of this kind was opened in the same tab.
addEventListener("hashchange", takeToken);

for (const button of document.querySelectorAll("[data-reveal]")) {
  const field = document.getElementById(button.dataset.reveal);
  button.hidden = false;
  button.addEventListener("click", () => {
    const { label, text } = button.dataset;
    button.dataset.label = button.getAttribute("aria-label");
    button.dataset.text = button.textContent;
    button.setAttribute("aria-label", label);
    button.textContent = text;
    field.type = field.type === "password" ? "text" : "password";
  });
}

// A second press while the first one is on its way would be a second act.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
    }
    if (!form.hasAttribute("data-download")) {
      form.dataset.sent = "1";
    }
  });
}
// The page came back from the history of the browser.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
  }
});

// A service that counts on TLS: at an address without it, the browser silently keeps no login. Addresses of this machine
// count as secure.
document.querySelector("[data-needs-tls]")?.toggleAttribute("hidden", isSecureContext);

// Times in the zone of the person who reads them, and in the form of their country.
const language = document.documentElement.lang;
const locale = navigator.languages.find((each) => each.startsWith(language)) ?? language;
const format = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
function localize() {
  for (const time of document.querySelectorAll("time")) {
    time.textContent = format.format(new Date(time.dateTime));
  }
}
localize();
// A script has shown another part of the page.
addEventListener("ubr:shown", localize);

// An error is read out, and the keyboard goes on from it.
document.querySelector("#problem")?.focus();
