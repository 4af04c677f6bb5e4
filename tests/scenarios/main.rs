//! Tests of the function in scenarios and by laws: streams, settings and faults, against systems in
//! memory and mocks on loopback.

mod convergence;
mod dispatch;
mod fuzz;
mod kinesis;
mod laws;
mod rows;
mod settings;
mod settled;
mod sync;
mod third_system;
mod transport;
