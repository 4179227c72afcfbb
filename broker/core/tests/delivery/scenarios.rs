//! Lives that are told step by step.
