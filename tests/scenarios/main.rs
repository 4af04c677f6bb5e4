//! Tests of the function in scenarios and by laws: streams, settings and faults, against systems in
//! memory and mocks on loopback.

mod convergence;
mod destinations;
mod dispatch;
mod doctor;
mod fuzz;
mod kinesis;
mod laws;
mod policies;
mod rows;
mod settings;
mod settled;
mod sync;
mod third_system;
mod transport;
