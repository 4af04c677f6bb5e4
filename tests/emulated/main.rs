//! Tests of the function with the AWS services that it needs, which moto emulates.

mod aws;
mod crash;
mod e2e;
mod fleet;
mod hanging;
mod redelivery;
mod start;
