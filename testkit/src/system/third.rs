//! The third system, which no part of the function names.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::tinycrm::TinyAccount;
use super::System;

pub fn tinycrm() -> BoxFuture<'static, Box<dyn System>> {
    async { Box::new(TinyAccount::new().await) as _ }.boxed()
}
