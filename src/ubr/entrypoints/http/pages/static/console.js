// What the console does more where scripts run. Without it every form works.

const PAUSE = 200; // milliseconds after the last key, so that a search is not sent for each letter

// A search as one types: the results are those of the page that the form leads to.
for (const form of document.querySelectorAll("form[data-search]")) {
  let waiting;
  let running = new AbortController();
  async function search() {
    running.abort();
    running = new AbortController();
    const address = new URL(form.action);
    for (const [name, value] of new FormData(form)) {
      if (value !== "") {
        address.searchParams.set(name, value);
      }
    }
    try {
      const answer = await fetch(address, { signal: running.signal, headers: { accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = page.getElementById(form.dataset.search);
      if (found === null) {
        location.assign(address); // the login, or a problem
        return;
      }
      document.getElementById(form.dataset.search).replaceChildren(...found.childNodes);
      history.replaceState(null, "", address);
      window.dispatchEvent(new CustomEvent("ubr:shown"));
    } catch (error) {
      if (error.name !== "AbortError") {
        form.submit();
      }
    }
  }
  form.addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(search, event.target.matches("select") ? 0 : PAUSE);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    search();
  });
}

// An act upon many users goes on by itself.
document.querySelector("form[data-continue]")?.requestSubmit();
