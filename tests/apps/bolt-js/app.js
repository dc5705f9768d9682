// An HTTP-mode Bolt app as its makers document it: it knows nothing of taut. Signature verification is on; there is no
// Slack token and no call to Slack. Only the receiver is chosen from outside:
//
//   SLACK_SIGNING_SECRET=... node app.js --receiver http|express [--port 0] [--record-port 0]
//
// Prints `record PORT` and then, once requests are taken, `listening PORT`.

'use strict';

const { parseArgs } = require('node:util');
const { App, ExpressReceiver, HTTPReceiver, LogLevel } = require('@slack/bolt');
const { registerListeners } = require('./listeners');
const { Record } = require('./record');

const RECEIVERS = { http: HTTPReceiver, express: ExpressReceiver };

function readOptions() {
  const { values } = parseArgs({
    options: {
      receiver: { type: 'string', default: 'http' },
      port: { type: 'string', default: '0' },
      'record-port': { type: 'string', default: '0' },
    },
  });
  if (!Object.hasOwn(RECEIVERS, values.receiver)) {
    throw new Error(`--receiver ${values.receiver}: use one of ${Object.keys(RECEIVERS).join(', ')}`);
  }
  return values;
}

async function main() {
  const options = readOptions();
  const logger = { logLevel: LogLevel.ERROR };
  const receiver = new RECEIVERS[options.receiver]({ signingSecret: process.env.SLACK_SIGNING_SECRET, ...logger });
  const app = new App({
    receiver,
    ...logger,
    authorize: async () => ({ botToken: 'xoxb-test', botId: 'B_BOT', botUserId: 'U_BOT' }),
  });
  const record = new Record();
  registerListeners(app, record);
  console.log(`record ${await record.serve(Number(options['record-port']))}`);
  const server = await app.start({ port: Number(options.port), host: '127.0.0.1' });
  console.log(`listening ${server.address().port}`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
