// Two tabs of one browser: they share its cookies, as the tabs of a browser do, and nothing else.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

const [, , example, base, email, password] = process.argv;
const { LoggedOut, session } = await import(pathToFileURL(example));

let jar = "";
const asked = [];

async function browser(url, options = {}) {
  const headers = new Headers(options.headers);
  headers.set("sec-fetch-site", "same-origin");
  if (options.credentials === "include" && jar) headers.set("cookie", jar);
  asked.push(`${options.method ?? "GET"} ${new URL(url).pathname}`);
  const answer = await fetch(url, { ...options, headers });
  for (const line of answer.headers.getSetCookie()) jar = line.includes("Max-Age=0") ? "" : line.split(";")[0];
  return answer;
}

const count = (path) => asked.filter((each) => each === `POST ${path}`).length;
const TOKEN = "/api/auth/token/browser";
const one = session(base, browser);
const two = session(base, browser);
const ends = [];
one.whenEnded(() => ends.push("one"));
two.whenEnded(() => ends.push("two"));

await assert.rejects(one.call("/api/users/me"), LoggedOut);
assert.equal(await one.logIn(email, "not the right password"), null);
const user = await one.logIn(email, password);
assert.equal(user.email, email);

// The other tab is logged in too, and no script has to do anything for it.
assert.equal((await (await two.call("/api/users/me")).json()).id, user.id);

// Calls of a service share one token in each tab; ubr stands for the service here.
const service = `${base}/api/users/me`;
const together = (tab) => Promise.all([1, 2, 3].map(async () => (await tab.callService(service)).status));
assert.deepEqual(await together(one), [200, 200, 200]);
assert.equal(count(TOKEN), 1);
assert.deepEqual(await together(two), [200, 200, 200]);
assert.equal(count(TOKEN), 2);

// A tab slept for longer than its token lasts.
const now = Date.now;
Date.now = () => now() + 3_600_000;
assert.deepEqual(await together(one), [200, 200, 200]);
Date.now = now;
assert.equal(count(TOKEN), 3);

// Logged out in one tab, all of them are, and forget their tokens.
ends.length = 0;
const heard = new Promise((resolve) => two.whenEnded(resolve));
await one.logOut();
await heard;
assert.deepEqual(ends, ["one"]);
assert.equal(jar, "");
await assert.rejects(two.callService(service), LoggedOut);
await assert.rejects(one.call("/api/users/me"), LoggedOut);
await one.logOut(); // once more is not an error

// After a failure, a later call tries again.
await two.logIn(email, password);
const good = jar;
jar = "";
await assert.rejects(two.callService(service), LoggedOut);
jar = good;
assert.equal((await two.callService(service)).status, 200);

one.close();
two.close();
console.log("done");
