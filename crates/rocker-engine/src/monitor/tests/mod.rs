//! The loop with real processes, real terminals and real sockets.

mod clients;
mod flood;
mod input;
mod output;
mod rig;
