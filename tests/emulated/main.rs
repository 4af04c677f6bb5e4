//! The function with the AWS services that it needs emulated by moto.

mod aws;
mod crash;
mod e2e;
mod fleet;
mod hanging;
mod redelivery;
