//! Files for a server: opens those below a folder safely, tells their versions apart, and sends them to sockets; and keeps
//! uploaded ones until they are saved.
//!
//! No path leads out of the folder.
//!
//! This crate may know system calls (libc) and file descriptors, but no HTTP and no Janet. A file is examined through
//! the descriptor that it is sent from, so the file that was checked is the one that is sent, whatever is renamed or
//! linked meanwhile.
//!
//! # Files, in the order of one request
//!
//! | file | question that it answers |
//! | --- | --- |
//! | `folder.rs` | What is at this path of the folder? |
//! | `open.rs` | How is a path opened without following links? |
//! | `refusal.rs` | What does an error of the system mean for the response? |
//! | `info.rs` | What does the file system say about the file? |
//! | `validators.rs` | Which version of the file is this? |
//! | `send.rs` | How is a part of the file sent, and why did that stop? |
//! | `sendfile.rs` | How does this system's sendfile(2) work? |
//! | `temporary.rs` | Where does an uploaded file go until it has a lasting name? |
//!
//! Two more are for a supervisor: `pid_file.rs` writes the number of its process to a file, and [`watch`] notices that files were
//! changed.
//!
//! # Example
//!
//! ```
//! use std::io::Read;
//! use std::os::fd::AsRawFd;
//! use std::os::unix::net::UnixStream;
//! use std::time::SystemTime;
//!
//! use kqnet_files::{Folder, Found, Refusal, send};
//!
//! # let path = std::env::temp_dir().join(format!("kqnet-files-example-{}", std::process::id()));
//! # std::fs::create_dir_all(&path)?;
//! # std::fs::write(path.join("greeting.txt"), "hello")?;
//! let follow_links = false;
//! let folder = Folder::new(&path, follow_links)?;
//! assert!(matches!(folder.open(b"missing.txt"), Err(Refusal::Missing)));
//! let Ok(Found::File(file, info)) = folder.open(b"greeting.txt") else { panic!("the file exists") };
//! let validators = folder.validators(&file, &info, SystemTime::now())?;
//! assert!(!validators.tag.is_empty());
//!
//! let (mut client, server) = UnixStream::pair()?;
//! assert_eq!(send(server.as_raw_fd(), &file, 0, info.size as usize).count, 5);
//! drop(server);
//! let mut text = String::new();
//! client.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! # std::fs::remove_dir_all(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod folder;
mod info;
mod open;
mod pid_file;
mod refusal;
mod send;
mod sendfile;
mod temporary;
mod validators;
pub mod watch;

pub use folder::{Folder, Found};
pub use info::Info;
pub use pid_file::{NotClaimed, PidFile};
pub use refusal::Refusal;
pub use send::{Sent, Stop, send};
pub use temporary::{COPIED, Saving, temporary, write_at};
pub use validators::Validators;
