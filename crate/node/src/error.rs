//! Errors of the core as JavaScript's: an `Error` with the properties of a `DaemonError`.

use napi::Env;
use napi::bindgen_prelude::{JsObjectValue, ToNapiValue};

use tsdaemonize_core::error::{self, Error};

/// What JavaScript catches.
pub fn thrown(env: &Env, error: Error) -> napi::Error {
    let build = || -> napi::Result<napi::Error> {
        let mut object = env.create_error(napi::Error::from_reason(error.message.clone()))?;
        object.set_named_property("code", error.code.name().as_ref())?;
        if let Some(errno) = error.errno {
            object.set_named_property("errno", -errno)?;
            object.set_named_property("errnoCode", error::symbol(errno))?;
        }
        if let Some(syscall) = error.syscall {
            object.set_named_property("syscall", syscall)?;
        }
        if let Some(path) = error.path {
            object.set_named_property("path", path)?;
        }
        if let Some(pid) = error.pid {
            object.set_named_property("pid", pid)?;
        }
        Ok(napi::Error::from(object.into_unknown(env)?))
    };
    build().unwrap_or_else(|error| error)
}
