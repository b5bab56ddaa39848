// Outbox of the tabs Rate and Arena: every answer is stored in the browser first, sent in order, and sent again until the server
// confirms it. An answer carries its own id, so that sending it twice does not duplicate it. Where the disk of the server may
// be lost, an answer is kept in the browser until the server has copied it, and is sent again if the server has lost it.

const [NEEDS_LOGIN, DELETED, NEEDS_CONSENT, BUSY] = [401, 410, 428, 429]; // HTTP status

/** The server rejected a request permanently; all other errors are retried. */
class RejectedError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
    this.keepsAnswers = [NEEDS_LOGIN, DELETED, NEEDS_CONSENT].includes(status); // the rater is refused, not the answer
  }
}

const CONFIRM = 60_000; // ms, between two questions whether sent answers are safe
const MAX_CONFIRMED = 200; // entries in one question
const REQUEST_TIME = 20_000; // ms until a request counts as lost, and for a file the time at the slowest speed that the server accepts:
const SLOWEST_UPLOAD = 16; // bytes/ms

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Random id of 22 characters A-Za-z0-9_-, 128 bits. (crypto.randomUUID requires HTTPS.) */
function uniqueId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").slice(0, 22);
}

/** Key-value storage under `prefix` in localStorage, or in memory if the browser refuses (blocked or full). */
function browserStorage(prefix) {
  const here = new Map();
  const stored = (use) => {
    try {
      return use(window.localStorage);
    } catch {
      return undefined;
    }
  };
  const write = (key, value) => stored((storage) => (storage.setItem(prefix + key, value), true)) ?? false;
  const self = {
    get: (key) => here.get(key) ?? stored((storage) => storage.getItem(prefix + key)) ?? null,
    set(key, value) {
      if (write(key, value)) here.delete(key);
      else here.set(key, value);
    },
    remove(key) {
      here.delete(key);
      stored((storage) => storage.removeItem(prefix + key));
    },
    /** All keys with this prefix, sorted. */
    keys(start = "") {
      const all = stored((storage) => Object.keys(storage)) ?? [];
      const mine = all.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
      return [...new Set([...mine, ...here.keys()])].filter((key) => key.startsWith(start)).sort();
    },
    clear: () => self.keys().forEach(self.remove),
    lasts: write("?", ""), // whether the data survive closing the page
  };
  self.remove("?");
  return self;
}

/** An error message of the server in the language of the visitor, in English where the tables do not have it. */
function inLanguage(message) {
  const keys = Object.keys(window.gradio_config?.i18n_translations?.en ?? {}).filter((key) => key.startsWith("rate.errors."));
  return gpen.translated(message, keys, "rate.errors");
}

/** Requests to the server at `base`; `report` receives the current problem as a message, or null. */
function connection(base, report) {
  const troubles = new Map(); // request -> error message
  const trouble = (name, sentence) => {
    if (sentence) troubles.set(name, sentence);
    else troubles.delete(name);
    report(troubles.values().next().value ?? null);
  };
  const waiting = new Set();
  window.addEventListener("online", () => waiting.forEach((wake) => wake()));
  async function pause(ms) {
    let wake;
    const woken = new Promise((done) => waiting.add((wake = done)));
    await Promise.race([woken, sleep(ms)]);
    waiting.delete(wake);
  }

  /** Send a request once: a file as it is, any other body as JSON. */
  async function call(name, body = {}) {
    const content = body instanceof Blob ? { body } : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const time = REQUEST_TIME + (body instanceof Blob ? body.size / SLOWEST_UPLOAD : 0);
    const response = await fetch(`${base}/${name}`, { method: "POST", ...content, signal: AbortSignal.timeout(time) }).catch(() => {
      throw new Error(gpen.text("rate.unreachable"));
    });
    const result = await response.json().catch(() => null);
    if (response.ok && result !== null) return result;
    const message = result?.error ?? result?.detail; // of the route, or of the limits of the page
    const sentence = message && inLanguage(message);
    if (sentence && response.status < 500 && response.status !== BUSY) throw new RejectedError(sentence, response.status);
    throw new Error(sentence ?? gpen.text("rate.status", { status: response.status }));
  }

  /** Repeat `attempt` until it succeeds, is rejected, or is no longer `wanted` (returns undefined). */
  async function retry(name, attempt, wanted = () => true) {
    for (let wait = 500; wanted(); wait = Math.min(2 * wait, 15_000)) {
      try {
        const result = await attempt();
        trouble(name, null);
        return result;
      } catch (error) {
        trouble(name, error instanceof RejectedError ? null : error.message);
        if (error instanceof RejectedError) throw error;
      }
      await pause(wait);
    }
    trouble(name, null);
  }

  return { call, retry, ask: (name, body, wanted) => retry(name, () => call(name, body), wanted) };
}

/**
 * Unsent requests, oldest first. Each entry has its own key, so that two tabs of a browser can share the storage: "op:" and
 * the time before it is sent, "ok:" and the time after that, while `keeps`, until `confirm` removes it.
 */
function outbox(store, keeps) {
  const keys = (kind = "op:") => store.keys(kind);
  const entry = (key) => JSON.parse(store.get(key) ?? "null");
  const pending = () => keys().map(entry).filter(Boolean);
  let last = Math.max(...["op:", "ok:"].map((kind) => Number(keys(kind).at(-1)?.slice(3, 19) ?? 0)));
  let sending = null; // promise of the loop below
  return {
    pending,
    add(name, body) {
      last = Math.max(Date.now(), last + 1); // strictly increasing, even if the clock is changed
      store.set(`op:${String(last).padStart(16, "0")}${uniqueId()}`, JSON.stringify({ name, body }));
    },
    /**
     * Send all entries; resolves when all are sent or no longer wanted. `ask(name, body)` sends one. After an error that
     * refuses the rater, all entries are kept, and `refused` is called without one.
     */
    flush(ask, done, refused, wanted) {
      sending ??= (async () => {
        for (let key; wanted() && (key = keys()[0]); ) {
          const sent = entry(key);
          try {
            const result = sent && (await ask(sent.name, sent.body, wanted));
            if (sent && !result) return; // no longer wanted
            if (sent && keeps) store.set(key.replace("op:", "ok:"), JSON.stringify(sent));
            store.remove(key);
            if (result) done(result);
          } catch (error) {
            if (error.keepsAnswers) return refused(error);
            store.remove(key);
            refused(error, sent);
          }
        }
      })().finally(() => (sending = null));
      return sending;
    },
    /** Ask which sent entries are safe: these are removed, and those that the server has lost are to be sent again. */
    async confirm(ask) {
      const sent = keys("ok:").slice(0, MAX_CONFIRMED).map((key) => ({ key, ...entry(key) }));
      if (!sent.length) return;
      const id = ({ name, body }) => (name === "undo" ? `undo:${body.id}` : body.id);
      const result = await ask(sent.map(id));
      if (!result) return;
      for (const one of sent) {
        if (result.waiting.includes(id(one))) continue;
        if (result.missing.includes(id(one))) store.set(one.key.replace("ok:", "op:"), JSON.stringify({ name: one.name, body: one.body }));
        store.remove(one.key);
      }
    },
  };
}
