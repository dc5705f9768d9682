"""The payloads behind the golden requests, as text, so that no serialiser has a say in their bytes."""

from dataclasses import dataclass

SECRET = "bridge-test-secret-0001"
TIMESTAMP = 1700000000


@dataclass(frozen=True)
class Case:
    """One payload, the envelope type it came in, and what of the envelope reaches the handler."""

    name: str
    envelope_type: str
    payload: bytes
    secret: str = SECRET
    timestamp: int = TIMESTAMP
    retry_attempt: int = 0
    retry_reason: str = ""


def event(inner: str, event_id: str, **extra: str) -> bytes:
    """An Events API payload around `inner`, both as text, so that no serialiser has a say in the bytes."""
    more = "".join(f',"{key}":{value}' for key, value in extra.items())
    return (
        '{"token":"tok","team_id":"T1","context_team_id":"T1","context_enterprise_id":null,"api_app_id":"A1",'
        f'"event":{inner},"type":"event_callback","event_id":"{event_id}","event_time":1700000000,'
        '"authorizations":[{"enterprise_id":null,"team_id":"T1","user_id":"U_BOT","is_bot":true,'
        f'"is_enterprise_install":false}}],"is_ext_shared_channel":false,"event_context":"4-ctx"{more}}}'
    ).encode("utf-8")


def interactive(kind: str, rest: str) -> bytes:
    """An interactivity payload of `kind`; `rest` is the text of the members that make the kind."""
    return (
        f'{{"type":"{kind}","token":"tok","api_app_id":"A1","team":{{"id":"T1","domain":"acme"}},'
        f'"user":{{"id":"U1","username":"ann","team_id":"T1"}},"enterprise":null,"is_enterprise_install":false,{rest}}}'
    ).encode("utf-8")


def view(kind: str, callback_id: str, rest: str = "") -> bytes:
    """A modal's payload, with a typed text that needs every kind of care."""
    return interactive(
        kind,
        '"view":{"id":"V1","team_id":"T1","type":"modal","callback_id":"%s","private_metadata":"{\\"k\\":\\"a&b=c\\"}",'
        '"hash":"1700000000.abc","state":{"values":{"b1":{"a1":{"type":"plain_text_input","value":"Grüße,\\nzwei '
        'Zeilen & 100%% + 1=2 \U0001f680"}}}}}%s' % (callback_id, rest),
    )


MESSAGE = '{"type":"message","channel":"C1","channel_type":"channel","user":"U1","text":%s,"ts":"1700000000.000100"}'
RESPONSE_URL = r'"https:\/\/hooks.slack.com\/actions\/T1\/1\/x"'
COMMAND = (
    '{"token":"tok","team_id":"T1","team_domain":"acme","channel_id":"C1","channel_name":"general","user_id":"U1",'
    '"user_name":"ann","command":%s,"text":%s,"api_app_id":"A1","is_enterprise_install":"false",'
    r'"response_url":"https:\/\/hooks.slack.com\/commands\/T1\/1\/x","trigger_id":"1.2.x"%s}'
)


def event_cases() -> list[Case]:
    """Events: the payload is the body."""
    mention = (
        rb'{"type":"event_callback","team_id":"T1","api_app_id":"A1","event":{"type":"app_mention",'
        rb'"text":"caf\u00e9"},"event_id":"Ev1","event_time":1700000000}'
    )
    pretty = (
        b'{\r\n\t"type": "event_callback",\r\n\t"team_id" : "T1", "api_app_id": "A1",\n'
        b'  "event": {\n    "type": "message",\n    "text": "escaped \\r\\n stays, \\u00E9 too"\n  },\n'
        b'  "event_id": "EvPretty",\r  "event_time": 1700000000\n}\n'
    )
    numbers = '{"type":"message","channel":"C1","n":[12345678901234567890123,-0,0.10,1E+2,1.0,1e-7,9007199254740993]}'
    duplicate = '{"type":"message","text":"first","text":"second","":"empty key","text":"third"}'
    function = (
        '{"type":"function_executed","function":{"id":"Fn1","callback_id":"f_run","title":"Übersetzen"},'
        '"inputs":{"text":"日本語"},"function_execution_id":"Fx1","workflow_execution_id":"Wx1",'
        '"event_ts":"1700000000.000100","bot_access_token":"xwfp-made-up"}'
    )
    rate = b'{"token":"tok","type":"app_rate_limited","team_id":"T1","minute_rate_limited":1700000000,"api_app_id":"A1"}'
    return [
        Case("event_vector", "events_api", mention),
        Case("message_plain", "events_api", event(MESSAGE % '"hello"', "Ev2")),
        Case("message_unicode", "events_api", event(MESSAGE % '"Grüße, 日本 \U0001f680\u2028\x7f"', "Ev3")),
        Case("message_escapes", "events_api", event(MESSAGE % r'"a\/b \u00E9 \ud83d\ude80 \" \\ \b\f\t"', "Ev4")),
        Case("message_lone_surrogates", "events_api", event(MESSAGE % r'"\ud800 \udfff x\uD800"', "Ev5")),
        Case("message_pretty_printed", "events_api", pretty),
        Case("message_numbers", "events_api", event(numbers, "Ev6")),
        Case("message_duplicate_keys", "events_api", event(duplicate, "Ev7")),
        Case("message_retried", "events_api", event(MESSAGE % '"again"', "Ev8"), retry_attempt=1, retry_reason="timeout"),
        Case("app_mention", "events_api", event('{"type":"app_mention","user":"U1","text":"<@U_BOT> hé","channel":"C1"}', "Ev9")),
        Case("reaction_added", "events_api", event('{"type":"reaction_added","user":"U1","reaction":"+1",'
             '"item":{"type":"message","channel":"C1","ts":"1700000000.000100"},"event_ts":"1700000000.000200"}', "Ev10")),
        Case("app_home_opened", "events_api", event('{"type":"app_home_opened","user":"U1","channel":"D1","tab":"home"}', "Ev11")),
        Case("function_executed", "events_api", event(function, "Ev12")),
        Case("app_rate_limited", "events_api", rate),
    ]


def interactive_cases() -> list[Case]:
    """Interactivity: one form field, `payload`."""
    container = '"container":{"type":"message","message_ts":"1700000000.000100","channel_id":"C1"}'
    action = '"actions":[{"type":"button","block_id":"b","action_id":"a_click","value":"über 5 > 3","action_ts":"1.0"}]'
    suggestion = f'"action_id":"o_menu","block_id":"b","value":"münch",{container},"channel":{{"id":"C1"}}'
    legacy = '"callback_id":"legacy","actions":[{"name":"n","type":"button","value":"v"}],"action_ts":"1.0"'
    dialog = '"callback_id":"d_errors","submission":{"name":"Zoë","note":"a=b&c"},"state":"","action_ts":"1.0"'
    message = '"callback_id":"s_message","trigger_id":"1.2.x","message_ts":"1.0","message":{"type":"message","text":"~*´`"}'
    vector = rb'{"type":"block_actions","text":"a b&c=d/\u00e9"}'
    return [
        Case("interactive_vector", "interactive", vector),
        Case("block_actions", "interactive", interactive("block_actions", f'{container},"trigger_id":"1.2.x",'
             f'"response_url":{RESPONSE_URL},{action}')),
        Case("block_suggestion", "interactive", interactive("block_suggestion", suggestion)),
        Case("view_submission", "interactive", view("view_submission", "v_errors", ',"trigger_id":"1.2.x","response_urls":[]')),
        Case("view_closed", "interactive", view("view_closed", "v_closed", ',"is_cleared":false')),
        Case("shortcut", "interactive", interactive("shortcut", '"callback_id":"s_global","trigger_id":"1.2.x","action_ts":"1.0"')),
        Case("message_action", "interactive", interactive("message_action", f'{message},"response_url":{RESPONSE_URL}')),
        Case("interactive_message", "interactive", interactive("interactive_message", legacy)),
        Case("dialog_submission", "interactive", interactive("dialog_submission", dialog)),
        Case("interactive_pretty_printed", "interactive", b'{\r\n  "type": "shortcut",\n  "callback_id": "s_global"\r\n}'),
    ]


def command_cases() -> list[Case]:
    """Slash commands: the top level, flattened."""
    docs = (
        '{"token":"xyzz0WbapA4vBCDEFasx0q6G","team_id":"T1DC2JH3J","team_domain":"testteamnow","channel_id":"G8PSS9T3V",'
        '"channel_name":"foobar","user_id":"U2CERLKJA","user_name":"roadrunner","command":"\\/webhook-collect","text":"",'
        '"response_url":"https:\\/\\/hooks.slack.com\\/commands\\/T1DC2JH3J\\/397700885554\\/96rGlfmibIGlgcZRskXaIFfN",'
        '"trigger_id":"398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"}'
    ).encode()
    vector = (
        '{"token":"tok","team_id":"T1","team_domain":"acme","channel_id":"C1","channel_name":"general","user_id":"U1",'
        r'"user_name":"ann","command":"\/hi","text":"","api_app_id":"A1","is_enterprise_install":"false",'
        r'"response_url":"https:\/\/hooks.slack.com\/commands\/T1\/1\/x","trigger_id":"1.2.x"}'
    ).encode()
    odd = (
        ',"flag":true,"off":false,"nothing":null,"big":12345678901234567890123,"float":1.50E+2,'
        r'"list":[1, "a\/b",{"k":null}],"object":{"b":"é","a":"x y"},"käse key":"v"'
    )
    text = r'"Grüße & <@U1> 100%% ~*-._ +=?#\/ \ud83d\ude80 \ud800 \"q\" \n\t%s"' % "\U0001f680"
    spaced = (COMMAND % (r'"\/echo"', '"two words"', "")).replace('","', '" ,\r\n "').encode()
    return [
        Case("command_docs_vector", "slash_commands", docs, "8f742231b10e8888abcd99yyyzzz85a5", 1531420618),
        Case("command_vector", "slash_commands", vector),
        Case("command_text", "slash_commands", (COMMAND % (r'"\/echo"', text, "")).encode("utf-8")),
        Case("command_odd_types", "slash_commands", (COMMAND % (r'"\/echo"', '"x"', odd)).encode("utf-8")),
        Case("command_pretty_printed", "slash_commands", spaced),
    ]


def all_cases() -> list[Case]:
    """Every case, in the order of the index."""
    return event_cases() + interactive_cases() + command_cases()
