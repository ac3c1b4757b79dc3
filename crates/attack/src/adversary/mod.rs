//! Hostile clients and leaders for the real stage.
