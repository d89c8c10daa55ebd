// Somebody registers, the administrator finds them, a wrong password is a problem: all through the generated types.
import createClient from "openapi-fetch";
import type { components, paths } from "./ubr.js";

type User = components["schemas"]["UserResult"];
type Problem = components["schemas"]["ProblemDetails"];

const [baseUrl = "", email = "", password = ""] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl });

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

async function signIn(): Promise<string> {
  const { data, error } = await client.POST("/api/auth/login", { body: { email, password } });
  if (error) throw new Error(error.title);
  return data.access_token;
}

async function register(address: string): Promise<User> {
  const { data, error, response } = await client.POST("/api/auth/register", {
    body: { email: address, password: "correct horse battery staple", full_name: null },
  });
  if (error) throw new Error(`${error.status} ${error.detail}`);
  if (!data) throw new Error("A mail decides"); // 202, where registration is verified
  const location = new URL(response.headers.get("location") ?? "", response.url).pathname;
  check(location === `/api/users/${data.id}`, "no location");
  return data;
}

async function* everyUser(token: string): AsyncGenerator<User> {
  const headers = { authorization: `Bearer ${token}` };
  let cursor: string | null = null;
  do {
    const query: { limit: number; sort: "email"; cursor?: string } = { limit: 1, sort: "email" };
    if (cursor !== null) query.cursor = cursor;
    const { data, error } = await client.GET("/api/users", { headers, params: { query } });
    if (error) throw new Error(error.title);
    yield* data.items;
    cursor = data.next_cursor;
  } while (cursor !== null);
}

const user = await register("reader@example.org");
check(user.roles.includes("user") && user.full_name === null, "not registered");

const token = await signIn();
const found: string[] = [];
for await (const each of everyUser(token)) found.push(each.email);
check(found.includes("reader@example.org") && found.length === 2, `found ${found.join()}`);

const changed = await client.PATCH("/api/users/{user_id}", {
  headers: { authorization: `Bearer ${token}` },
  params: { path: { user_id: user.id }, header: { "If-Match": '"0-another"' } },
  body: { full_name: "Reader" },
});
check(changed.error?.type === "/problems/precondition-failed", "changed");

const refused = await client.POST("/api/auth/login", { body: { email, password: "not the password" } });
const problem: Problem | undefined = refused.error;
check(problem?.type === "/problems/invalid-credentials" && problem.status === 401, "signed in");

const flawed = await client.POST("/api/auth/register", { body: { email: "nobody", password } });
check(flawed.error?.errors?.[0]?.pointer === "/email", "registered");

console.log("done");
