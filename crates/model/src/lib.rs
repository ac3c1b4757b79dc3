//! Ringfort under a model checker.
