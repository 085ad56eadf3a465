//! Promises of JavaScript for work that blocks, each in a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};

use napi::Env;
use napi::bindgen_prelude::{Object, ToNapiValue};

use tsdaemonize_core::error::{Code, Error, Result};
use tsdaemonize_core::thread;

use crate::error::thrown;

/// A thread for one piece of blocking work. It is none of libuv's four, since a start may take half a minute.
/// It is started before the work begins, so that nothing is begun that nobody could wait for.
pub struct Helper(Sender<Box<dyn FnOnce() + Send>>);

impl Helper {
    /// Starts the thread. Fails where the system allows no further one.
    pub fn start(env: &Env, name: &str) -> napi::Result<Self> {
        let (give, given) = channel::<Box<dyn FnOnce() + Send>>();
        let spawned = thread::spawn(name, move || given.into_iter().for_each(|work| work()));
        spawned.map(|()| Self(give)).map_err(|errno| {
            let what = "Cannot start a thread";
            let error = Error::os(Code::StartFailed, what, "pthread_create", errno as i32);
            thrown(env, error.hint("Too many processes and threads (`ulimit -u`)"))
        })
    }

    /// Gives the thread its work, after which it ends.
    pub fn run<T: ToNapiValue + Send + 'static>(
        self,
        env: &Env,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> napi::Result<Object<'_>> {
        let (deferred, promise) = env.create_deferred()?;
        let _ = self.0.send(Box::new(move || {
            // A panic (std has one for a closedir(3) that fails) must not leave the promise pending.
            let result = catch_unwind(AssertUnwindSafe(work));
            let result = result.unwrap_or_else(|_| {
                Err(Error::new(Code::StartFailed, "A thread of the native module has panicked"))
            });
            deferred.resolve(move |env| result.map_err(|error| thrown(&env, error)));
        }));
        Ok(promise)
    }
}

/// Runs blocking work in a thread of its own.
pub fn in_thread<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    name: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> napi::Result<Object<'env>> {
    Helper::start(env, name)?.run(env, work)
}
