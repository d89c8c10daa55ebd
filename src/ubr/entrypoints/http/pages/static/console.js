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

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = button.dataset.copied;
  });
}

// --- the proof of a log entry, recomputed in the browser (RFC 9162, 2.1.3.2) ---

const bytes = (base64) => Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));

async function hash(...parts) {
  const joined = new Uint8Array(await new Blob(parts).arrayBuffer());
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined));
}

const same = (one, other) => one.length === other.length && one.every((each, place) => each === other[place]);

// The name of the sentence that tells the result. Its words are attributes of the element.
async function recomputed({ proof, size, leaf, hashes, root, content }) {
  let found = bytes(leaf);
  if (content !== "" && !same(await hash(Uint8Array.of(0), bytes(content)), found)) {
    return "wrongLeaf";
  }
  // Numbers, not bits: a log may have more than 2³² entries.
  let [place, last] = [Number(proof), Number(size) - 1];
  for (const each of hashes.split(" ").filter(Boolean)) {
    if (last === 0) {
      return "tooLong";
    }
    if (place % 2 === 1 || place === last) {
      found = await hash(Uint8Array.of(1), bytes(each), found);
      while (place % 2 === 0 && place !== 0) {
        [place, last] = [place / 2, Math.floor(last / 2)];
      }
    } else {
      found = await hash(Uint8Array.of(1), found, bytes(each));
    }
    [place, last] = [Math.floor(place / 2), Math.floor(last / 2)];
  }
  return last === 0 && same(found, bytes(root))
    ? "matches"
    : "differs";
}

const proof = document.querySelector("[data-proof]");
if (proof !== null && globalThis.crypto?.subtle !== undefined) {
  document.getElementById("recomputed").textContent = proof.dataset[await recomputed(proof.dataset)];
}
