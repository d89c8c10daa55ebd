// Uses that must not compile. Where one does, the compiler complains of the directive above it.
import createClient from "openapi-fetch";
import type { components, paths } from "./ubr.js";

const client = createClient<paths>({ baseUrl: "" });

// @ts-expect-error a body without a password
await client.POST("/api/auth/login", { body: { email: "reader@example.org" } });

// @ts-expect-error a path that there is not
await client.GET("/api/user");

// @ts-expect-error a method that the path does not take
await client.PUT("/api/users", {});

// @ts-expect-error a sort that there is not
await client.GET("/api/users", { params: { query: { sort: "password" } } });

// @ts-expect-error one text, where a list belongs
await client.POST("/api/roles", { body: { name: "editor", permissions: "users:read" } });

// @ts-expect-error no id
await client.DELETE("/api/users/{user_id}", {});

declare const user: components["schemas"]["UserResult"];
// @ts-expect-error it may be null
const name: string = user.full_name;
// @ts-expect-error nobody is told
console.log(name, user.password);
