//! What the batch costs on the hot paths, in bytes a second: `cargo bench -p tidelog-model`.
//!
//! The door pays `validate` for every batch produced, a producer `build`, a consumer `records`.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tidelog_model::Timestamp;
use tidelog_model::batch::{BatchBuilder, BatchRules, Compression, RecordBatch};
use tidelog_model::partitioner::murmur2;

const BATCH_BYTES: usize = 1 << 20;

/// A batch of about 1 MiB made of records with values of `size` bytes that compress about as JSON does.
fn build(compression: Compression, size: usize, values: &[u8]) -> RecordBatch {
    let mut builder = BatchBuilder::new(compression, BATCH_BYTES + size);
    for (number, value) in (0..).zip(values.chunks(size)) {
        builder.append(Timestamp::from_millis(number), Some(b"aircraft-4711"), Some(value), &[]);
    }
    builder.build().unwrap()
}

fn values() -> Vec<u8> {
    let mut text = String::with_capacity(BATCH_BYTES + 100);
    let mut state = 1_u32;
    while text.len() < BATCH_BYTES {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!(
            "{{\"id\":{state},\"altitude\":{},\"speed\":{}}},",
            state % 12_000,
            state % 900
        ));
    }
    text.into_bytes()
}

fn batches(criterion: &mut Criterion) {
    let values = values();
    let rules = BatchRules { batch_bytes_max: 2 * BATCH_BYTES, ..BatchRules::default() };
    for size in [100, 1024] {
        let mut group = criterion.benchmark_group(format!("{size}-byte records"));
        for codec in Compression::ALL {
            let batch = build(codec, size, &values);
            let records: u64 =
                batch.records().unwrap().map(|record| record.unwrap().value.unwrap().len() as u64).sum();
            group.throughput(Throughput::Bytes(records));
            group.bench_function(format!("validate {}", codec.name()), |bencher| {
                bencher.iter(|| RecordBatch::validate(black_box(batch.bytes().clone()), &rules).unwrap());
            });
            group.bench_function(format!("records {}", codec.name()), |bencher| {
                bencher.iter(|| black_box(&batch).records().unwrap().filter(Result::is_ok).count());
            });
            group.bench_function(format!("build {}", codec.name()), |bencher| {
                bencher.iter_batched(
                    || (),
                    |()| build(codec, size, black_box(&values)),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

fn keys(criterion: &mut Criterion) {
    criterion.bench_function("murmur2 of 16 bytes", |bencher| {
        bencher.iter(|| murmur2(black_box(b"aircraft-0004711")));
    });
}

criterion_group!(benches, batches, keys);
criterion_main!(benches);
