//! Every row of the list of attacks, and what became of it.
