// Tests of a program in JavaScript against `ubr emulate`, with what node brings. Run it with:
//
//   ubr emulate --state examples/emulator.json
//   node --test examples/emulator.test.mjs

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

const URL = process.env.UBR_URL ?? "http://127.0.0.1:8025";
const EDITOR = { email: "editor@example.org", password: "long enough for anyone" };

async function call(method, path, body, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(URL + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text ? JSON.parse(text) : null };
}

const logIn = async (who) => (await call("POST", "/api/auth/login", who)).body.access_token;

beforeEach(async () => {
  const answer = await call("POST", "/_emulator/reset");
  assert.equal(answer.status, 204);
});

test("an editor has the permission of the state", async () => {
  const { body, headers } = await call("GET", "/api/users/me", undefined, await logIn(EDITOR));
  assert.deepEqual(body.permissions, ["notes:edit"]);
  assert.equal(headers.get("ubr-emulator"), "in memory, for tests only");
});

test("a token expires when the clock moves", async () => {
  const token = await logIn(EDITOR);
  await call("POST", "/_emulator/clock", { seconds: 3600 });
  const answer = await call("GET", "/api/users/me", undefined, token);
  assert.equal(answer.status, 401);
});

test("a forgotten password is replaced by the link in the mail", async () => {
  await call("POST", "/api/auth/password/forgot", { email: EDITOR.email });
  const mails = (await call("GET", "/_emulator/mails")).body.items;
  assert.equal(mails.length, 1);
  assert.equal(mails[0].to, EDITOR.email);
  const token = mails[0].text.match(/#token=([\w-]+)/)[1];
  const password = "another one that is long";
  assert.equal((await call("POST", "/api/auth/password/reset", { token, new_password: password })).status, 204);
  assert.ok(await logIn({ ...EDITOR, password }));
});

test("a failing store is answered with 503", async () => {
  await call("PUT", "/_emulator/failure", { failure: "unreachable" });
  const answer = await call("POST", "/api/auth/login", EDITOR);
  assert.equal(answer.status, 503);
  assert.ok(answer.headers.get("retry-after"));
  await call("DELETE", "/_emulator/failure");
  assert.ok(await logIn(EDITOR));
});

test("a test begins without the users of another one", async () => {
  const reader = { email: "reader@example.org", password: "long enough for anyone" };
  assert.equal((await call("POST", "/api/auth/register", reader)).status, 201);
  await call("POST", "/_emulator/reset");
  assert.equal((await call("POST", "/api/auth/login", reader)).status, 401);
});
