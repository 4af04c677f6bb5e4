//! contact-sync: keeps Salesforce and HubSpot equal to a company's contact database, from its Kinesis stream of
//! changes.

pub mod adapters;
pub mod contact;
pub mod dispatch;
pub mod secrets;
pub mod telemetry;
