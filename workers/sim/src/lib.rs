//! A simulated Slack: Web API and Socket Mode, scriptable, with a journal
