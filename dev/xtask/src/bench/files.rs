//! Measures static files, beside nginx with sendfile.

use std::fs;
use std::io::Write;

use kqnet_hosts::Result;

use super::download;
use super::measurements::{Better, Comparison};
use super::setup::{Bench, progress};

/// A file: how the group is called, its name, its size, and how many clients fetch it.
const FILES: [(&str, &str, u64, usize); 3] = [
    ("1 KiB, 64 clients", "1k", 1 << 10, 64),
    ("1 MiB, 16 clients", "1m", 1 << 20, 16),
    ("100 MiB, 4 clients", "100m", 100 << 20, 4),
];

const SERVERS: [&str; 4] = ["files", "nginx", "go", "node"];

/// Measures static files.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    make(bench)?;
    let mut rate = Comparison::new(
        "files-rate",
        "Static files in a second",
        "Files that are in the system's cache, fetched on kept connections: from `http/static`, from nginx with sendfile, \
         from Go's FileServer, and from Node's createReadStream. The clients throw the files away in the kernel, so that \
         the server sets the pace.",
        "files/s",
        Better::More,
    );
    let mut cpu = Comparison::new(
        "files-cpu",
        "Processor time of the server for each file",
        "In the same runs, in user space and in the kernel.",
        "µs",
        Better::Less,
    );
    for (label, name, size, clients) in FILES {
        let programs = bench.servers(&SERVERS, &mut rate);
        for round in 1..=bench.settings.rounds {
            progress(&format!("files of {label}, round {round}"));
            for program in &programs {
                let mut server = program.start()?;
                let before = server.usage()?;
                let result = download::run(server.port(), &format!("/files/{name}"), clients, bench.time());
                let Some(done) = rate.take(label, &program.name, result)? else { continue };
                let after = server.usage()?;
                // Of a large file, only a part may have been sent at the end.
                let files = done.bytes as f64 / size as f64;
                rate.add(label, &program.name, files / done.time.as_secs_f64());
                cpu.add(label, &program.name, (after.cpu - before.cpu) * 1e6 / files);
            }
        }
    }
    Ok(vec![rate, cpu])
}

/// Makes the files that are not there yet.
fn make(bench: &Bench) -> Result<()> {
    let folder = &bench.files;
    fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    for (_, name, size, _) in FILES {
        let path = folder.join(name);
        if fs::metadata(&path).is_ok_and(|found| found.len() == size) {
            continue;
        }
        let piece = vec![b'x'; 1024];
        let written = fs::File::create(&path).and_then(|file| {
            let mut file = std::io::BufWriter::with_capacity(1 << 20, file);
            (0..size / 1024).try_for_each(|_| file.write_all(&piece))?;
            file.flush()
        });
        written.map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}
