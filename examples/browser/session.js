// @ts-check
/**
 * A page whose user is logged in with the cookie of ubr, in any number of tabs. It needs no build step.
 *
 * No script sees the cookie, and nothing has to be refreshed for it: the browser sends it with each call, and a tab that
 * slept goes on where it was. Only calls of other services need access tokens. Each tab keeps its own in memory, so a
 * reload forgets it, and gets another one when it has expired.
 */

/** @typedef {{ id: string, email: string, full_name: string | null, roles: string[] }} User */
/** @typedef {{ text: string, until: number }} Token */

const EARLY = 30_000; // milliseconds before its end at which a token is replaced, for calls under way

/** The user is logged out: show the login. */
export class LoggedOut extends Error {}

/**
 * @param {string} base the address of ubr, and nothing for a page of the same origin
 * @param {typeof fetch} send
 */
export function session(base = "", send = fetch) {
  const tabs = new BroadcastChannel("ubr session");
  /** @type {Promise<Token> | null} */
  let token = null;
  /** @type {() => void} */
  let ended = () => {};

  tabs.onmessage = () => end();

  function end() {
    token = null;
    ended();
  }

  /**
   * @param {string} path
   * @param {unknown} [body]
   */
  function post(path, body) {
    const headers = { "content-type": "application/json" };
    const content = body === undefined ? {} : { headers, body: JSON.stringify(body) };
    // "include" also sends the cookie to ubr on another host of the same site.
    return send(base + path, { method: "POST", credentials: "include", ...content });
  }

  /**
   * The user, or null if the e-mail or the password is wrong.
   *
   * @param {string} email
   * @param {string} password
   * @returns {Promise<User | null>}
   */
  async function logIn(email, password) {
    token = null;
    const answer = await post("/api/auth/login/browser", { email, password });
    if (answer.ok) return (await answer.json()).user;
    if (answer.status === 401) return null;
    throw new Error(`The login failed with ${answer.status}: try again later`);
  }

  async function logOut() {
    const answer = await post("/api/auth/logout");
    // 401: it had ended already.
    if (!answer.ok && answer.status !== 401) throw new Error(`The logout failed with ${answer.status}`);
    end();
    tabs.postMessage("ended"); // the other tabs forget their tokens too
  }

  /**
   * A call of ubr. Throws `LoggedOut`.
   *
   * @param {string} path
   * @param {RequestInit} [options]
   */
  async function call(path, options = {}) {
    return checked(await send(base + path, { ...options, credentials: "include" }));
  }

  /** @param {Response} answer */
  function checked(answer) {
    if (answer.status !== 401) return answer;
    end();
    throw new LoggedOut();
  }

  /** @returns {Promise<Token>} */
  async function newToken() {
    const answer = checked(await post("/api/auth/token/browser"));
    if (!answer.ok) throw new Error(`No token, but ${answer.status}: try again later`);
    const { access_token, expires_in } = await answer.json();
    return { text: access_token, until: Date.now() + expires_in * 1000 - EARLY };
  }

  /**
   * One token for all calls of this tab: those that come at the same time share one request.
   *
   * @param {Token} [refused] a token that a service did not accept
   * @returns {Promise<Token>}
   */
  async function currentToken(refused) {
    while (token !== null) {
      const asked = token;
      const known = await asked;
      if (known !== refused && Date.now() < known.until) return known;
      if (token === asked) token = null; // otherwise another call has asked for the next one
    }
    const asked = newToken();
    token = asked;
    asked.catch(() => {
      if (token === asked) token = null; // a later call tries again
    });
    return asked;
  }

  /**
   * A call of a service that verifies the tokens of ubr. Throws `LoggedOut`.
   *
   * @param {string} url
   * @param {RequestInit} [options]
   */
  async function callService(url, options = {}) {
    /** @param {Token} now */
    const attempt = (now) => {
      const headers = new Headers(options.headers);
      headers.set("authorization", `Bearer ${now.text}`);
      return send(url, { ...options, headers, credentials: "omit" });
    };
    const first = await currentToken();
    const answer = await attempt(first);
    // The session or its permissions have changed since the token was issued, or the token was revoked.
    return answer.status === 401 ? attempt(await currentToken(first)) : answer;
  }

  return {
    logIn,
    logOut,
    call,
    callService,
    /** @param {() => void} listener called when the session has ended, in whichever tab */
    whenEnded(listener) {
      ended = listener;
    },
    close: () => tabs.close(),
  };
}
