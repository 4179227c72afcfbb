//! Loopback TCP and the checksum: what a byte costs before anything is done with it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::disk::noise;
use crate::stats::megabytes_per_second;

/// One loopback connection, written in blocks of `size` bytes: MB a second.
pub(crate) fn loopback(size: usize, total: u64) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let reader = std::thread::spawn(move || -> Result<u64> {
        let (mut socket, _) = listener.accept()?;
        let mut buffer = vec![0; 1 << 20];
        let mut seen = 0_u64;
        loop {
            match socket.read(&mut buffer)? {
                0 => return Ok(seen),
                count => seen += u64::try_from(count)?,
            }
        }
    });
    let block = noise(size);
    let mut socket = TcpStream::connect(address)?;
    let started = Instant::now();
    let mut sent = 0_u64;
    while sent < total {
        socket.write_all(&block)?;
        sent += u64::try_from(size)?;
    }
    drop(socket);
    let seen = reader.join().map_err(|_| anyhow!("the reading thread ended early"))??;
    anyhow::ensure!(seen == sent, "{sent} bytes were sent but {seen} arrived");
    Ok(megabytes_per_second(sent, started.elapsed()))
}

/// CRC32C over blocks of 1 MiB: MB a second.
pub(crate) fn checksum(total: u64) -> f64 {
    let block = noise(1 << 20);
    let started = Instant::now();
    let mut done = 0;
    let mut sum = 0;
    while done < total {
        sum = crc32c::crc32c_append(sum, &block);
        done += 1 << 20;
    }
    std::hint::black_box(sum);
    megabytes_per_second(done, started.elapsed())
}
