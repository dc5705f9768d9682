// What the listeners saw: each call adds `{listener, id}`, and GET /record reads the list back as JSON.

'use strict';

const http = require('node:http');

// Entries; the oldest go first. A test that needs more should read the record more often.
const ENTRIES_MAX = 100_000;

/** What tells this request from any other of its kind. */
function idOf(body) {
  return body.event_id ?? body.trigger_id ?? body.view?.id ?? body.action_ts ?? body.value ?? null;
}

class Record {
  #entries = [];

  add(listener, body) {
    if (this.#entries.length === ENTRIES_MAX) this.#entries.shift();
    this.#entries.push({ listener, id: idOf(body) });
  }

  /** Serves the record on loopback and resolves to the port. */
  serve(port) {
    const server = http.createServer((request, response) => {
      if (request.method !== 'GET' || request.url !== '/record') {
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(this.#entries));
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => resolve(server.address().port));
    });
  }
}

module.exports = { Record };
