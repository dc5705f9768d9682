// One listener for each kind of request and each kind of answer that Bolt has. None of them calls Slack.

'use strict';

const { setTimeout: sleep } = require('node:timers/promises');

// Just over Slack's limit for an ack over Socket Mode (20,480 bytes); fine over HTTP.
const BIG_ANSWER_BYTES = 30_000;

const plain = (text) => ({ type: 'plain_text', text });
const section = (text) => ({ type: 'section', text: { type: 'mrkdwn', text } });
const modal = (title) => ({ type: 'modal', title: plain(title), blocks: [section('Grüße aus dem *Modal*')] });
const option = (text, value) => ({ text: plain(text), value });

function registerEvents(app, record) {
  app.message(async ({ body }) => record.add('message', body));
  app.event('message', async ({ body }) => record.add('event_message', body));
  for (const type of ['app_mention', 'reaction_added', 'app_home_opened', 'app_uninstalled', 'tokens_revoked']) {
    app.event(type, async ({ body }) => record.add(type, body));
  }
  app.function('f_run', async ({ body }) => record.add('f_run', body));
}

function registerCommands(app, record) {
  const command = (name, listener) =>
    app.command(name, async (args) => {
      record.add(name, args.body);
      await listener(args);
    });
  command('/echo', ({ ack, command: { text } }) => ack(`echo: ${text}`));
  command('/blocks', ({ ack }) => ack({ response_type: 'ephemeral', text: 'blocks', blocks: [section('*Grüße*')] }));
  command('/silent', ({ ack }) => ack());
  command('/slow', ({ ack }) => sleep(1500).then(() => ack('slow')));
  command('/late', ({ ack }) => sleep(4000).then(() => ack('late')));
  command('/never', async () => {});
  command('/throw', async () => {
    throw new Error('this listener throws before it acks');
  });
  command('/big', ({ ack }) => ack('x'.repeat(BIG_ANSWER_BYTES)));
}

function registerInteractivity(app, record) {
  const answer = (name, payload) => async ({ ack, body }) => {
    record.add(name, body);
    await ack(payload);
  };
  app.action('a_click', answer('a_click'));
  app.options('o_menu', answer('o_menu', { options: [option('Größe M', 'm'), option('Größe L', 'l')] }));
  app.options('o_groups', answer('o_groups', { option_groups: [{ label: plain('Sizes'), options: [option('M', 'm')] }] }));
  app.view('v_errors', answer('v_errors', { response_action: 'errors', errors: { b1: 'zu kurz für uns' } }));
  app.view('v_update', answer('v_update', { response_action: 'update', view: modal('Updated') }));
  app.view('v_push', answer('v_push', { response_action: 'push', view: modal('Pushed') }));
  app.view('v_clear', answer('v_clear', { response_action: 'clear' }));
  app.view('v_close', answer('v_close'));
  app.view({ type: 'view_closed', callback_id: 'v_closed' }, answer('v_closed'));
  app.shortcut({ type: 'shortcut', callback_id: 's_global' }, answer('s_global'));
  app.shortcut({ type: 'message_action', callback_id: 's_message' }, answer('s_message'));
}

// Attachments' buttons and menus, and dialogs: what came before Block Kit and still arrives.
function registerLegacy(app, record) {
  app.action({ type: 'interactive_message', callback_id: 'l_buttons' }, async ({ ack, body }) => {
    record.add('l_buttons', body);
    await ack({ replace_original: true, text: 'gewählt: ✓' });
  });
  app.options({ type: 'interactive_message', callback_id: 'l_menu' }, async ({ ack, body }) => {
    record.add('l_menu', body);
    await ack({ options: [{ text: 'Größe M', value: 'm' }] });
  });
  app.action({ type: 'dialog_submission', callback_id: 'd_errors' }, async ({ ack, body }) => {
    record.add('d_errors', body);
    await ack({ errors: [{ name: 'size', error: 'zu groß' }] });
  });
  app.action({ type: 'dialog_submission', callback_id: 'd_close' }, async ({ ack, body }) => {
    record.add('d_close', body);
    await ack();
  });
  app.options({ type: 'dialog_suggestion', callback_id: 'd_menu' }, async ({ ack, body }) => {
    record.add('d_menu', body);
    await ack({ options: [{ label: 'Größe M', value: 'm' }] });
  });
}

function registerListeners(app, record) {
  registerEvents(app, record);
  registerCommands(app, record);
  registerInteractivity(app, record);
  registerLegacy(app, record);
}

module.exports = { registerListeners };
