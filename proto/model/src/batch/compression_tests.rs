use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

proptest! {
    #[test]
    fn every_codec_unfolds_what_it_packed(plain: Vec<u8>, codec in 0_i16..5) {
        let codec = Compression::from_id(codec).unwrap();
        let packed = codec.compress(&plain).unwrap();
        prop_assert_eq!(codec.decompress(&packed, LIMIT).unwrap(), plain);
    }

    #[test]
    fn random_bytes_never_panic_and_stay_within_the_limit(bytes: Vec<u8>, codec in 0_i16..5) {
        let codec = Compression::from_id(codec).unwrap();
        if let Ok(plain) = codec.decompress(&Bytes::from(bytes), 100) {
            prop_assert!(plain.len() <= 100);
        }
    }
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let plain = vec![0; LIMIT + 1];
    for codec in Compression::ALL {
        let packed = codec.compress(&plain).unwrap();
        let refused = codec.decompress(&packed, LIMIT).unwrap_err();
        assert_eq!(refused, CompressionError::TooLarge { codec: codec.name(), limit: LIMIT });
    }
}

#[test]
fn several_xerial_blocks_and_one_raw_block_unfold() {
    let plain: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let framed = Compression::Snappy.compress(&plain).unwrap();
    assert_eq!(Compression::Snappy.decompress(&framed, LIMIT).unwrap(), plain);
    let raw = Bytes::from(snap::raw::Encoder::new().compress_vec(&plain).unwrap());
    assert_eq!(Compression::Snappy.decompress(&raw, LIMIT).unwrap(), plain);
}

#[test]
fn a_snappy_block_that_announces_too_much_is_refused_without_allocating() {
    let lie = Bytes::from_static(&[0xFF, 0xFF, 0xFF, 0x7F, 0]);
    assert!(Compression::Snappy.decompress(&lie, usize::MAX).is_err());
}

#[test]
fn an_lz4_frame_whose_blocks_depend_on_each_other_is_refused() {
    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};
    let info = FrameInfo::new().block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&[1; 1000]).unwrap();
    let linked = Bytes::from(encoder.finish().unwrap());
    let refused = Compression::Lz4.decompress(&linked, LIMIT).unwrap_err();
    assert!(refused.to_string().contains("depend on each other"), "{refused}");
}

#[test]
fn bytes_after_the_compressed_data_are_refused() {
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let mut packed = codec.compress(&[3; 5000]).unwrap().to_vec();
        packed.push(0);
        assert!(codec.decompress(&packed.into(), LIMIT).is_err(), "{}", codec.name());
    }
}

#[test]
fn compressed_data_cut_off_anywhere_is_refused() {
    let plain: Vec<u8> = (0..2000_u32).flat_map(|number| (number % 251).to_le_bytes()).collect();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = codec.compress(&plain).unwrap();
        for end in 0..packed.len() {
            let cut = codec.decompress(&packed.slice(..end), LIMIT);
            // Without a block, snappy holds nothing: the batch's record count tells that case.
            assert!(cut.is_err() || cut.unwrap().is_empty(), "{} cut at {end}", codec.name());
        }
    }
}

#[test]
fn names_and_ids_lead_back() {
    for codec in Compression::ALL {
        assert_eq!(Compression::from_id(codec.id()), Some(codec));
        assert_eq!(Compression::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Compression::from_id(5), None);
}
