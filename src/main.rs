//! The `apitap` program: arguments in, exit code out.

use std::process::ExitCode;

/// Body decoding and calls allocate in one thread and free in another; mimalloc is built for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    apitap::cli::main()
}
