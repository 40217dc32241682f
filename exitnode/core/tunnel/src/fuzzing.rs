//! Private parsers of foreign bytes as functions that panic if a promise is broken. For hawse-fuzz alone; feature `fuzzing`.

pub use crate::dial::proxy_answer;
