//! Other services, read from the one log: nothing here sends a message.
