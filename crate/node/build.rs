//! Links the module as Node loads it.

fn main() {
    napi_build::setup();
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("macos") {
        // Else the library names itself by the path where it was built.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/tsdaemonize.node");
    }
}
