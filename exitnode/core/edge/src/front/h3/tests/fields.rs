use super::*;

/// A field written out, plain.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    prefixed(0x20, 3, name.len(), &mut out);
    out.extend_from_slice(name.as_bytes());
    prefixed(0x00, 7, value.len(), &mut out);
    out.extend_from_slice(value.as_bytes());
    out
}

/// A field written out, the name as these Huffman coded bytes.
fn huffman(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prefixed(0x28, 3, name.len(), &mut out);
    out.extend_from_slice(name);
    out.extend_from_slice(&[1, b'x']);
    out
}

/// Name from the static table.
fn named(index: u8, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    prefixed(0x50, 4, index.into(), &mut out);
    prefixed(0x00, 7, value.len(), &mut out);
    out.extend_from_slice(value.as_bytes());
    out
}

/// Name and value from the static table.
fn indexed(index: u8) -> Vec<u8> {
    let mut out = Vec::new();
    prefixed(0xc0, 6, index.into(), &mut out);
    out
}

fn prefixed(flags: u8, bits: u32, value: usize, out: &mut Vec<u8>) {
    let most = (1_usize << bits) - 1;
    out.push(flags | u8::try_from(value.min(most)).unwrap());
    if value >= most {
        let mut rest = value - most;
        while rest >= 128 {
            out.push(u8::try_from(rest & 127).unwrap() | 128);
            rest >>= 7;
        }
        out.push(u8::try_from(rest).unwrap());
    }
}

fn section(fields: &[Vec<u8>]) -> Vec<u8> {
    [vec![0, 0], fields.concat()].concat()
}

fn head() -> Vec<Vec<u8>> {
    // :method GET, :scheme https, :authority, :path
    vec![indexed(17), indexed(23), named(0, "shop.t.example"), named(1, "/a")]
}

fn with(more: &[Vec<u8>]) -> Vec<u8> {
    section(&[head(), more.to_vec()].concat())
}

#[test]
fn heads_in_order_pass() {
    let long = "v".repeat(5000);
    for (name, block) in [
        ("static names", with(&[])),
        (
            "regular fields after them",
            with(&[literal("x-a", "1"), indexed(31), named(4, "0")]),
        ),
        ("long value", with(&[literal("x-a", &long)])),
        ("long name", with(&[literal(&"n".repeat(300), "")])),
        (
            "written out",
            section(&[
                literal(":method", "GET"),
                literal(":path", "/"),
                literal("cookie", "a=b"),
            ]),
        ),
        ("Huffman coded", section(&[huffman(PSEUDO[0].1), huffman(PSEUDO[1].1)])),
        ("nothing", section(&[])),
    ] {
        assert_eq!(check(&block, Section::Head), Ok(None), "{name}");
    }
}

#[test]
fn misplaced_and_doubled_pseudo_fields_are_malformed() {
    for (name, block) in [
        ("path twice", with(&[named(1, "/b")])),
        ("path twice, from the table", with(&[indexed(1)])),
        ("path twice, written out", with(&[literal(":path", "/b")])),
        ("path twice, Huffman coded", with(&[huffman(PSEUDO[1].1)])),
        ("method twice", with(&[indexed(20)])),
        ("scheme twice", with(&[indexed(22)])),
        ("authority twice", with(&[named(0, "other.example")])),
        (
            "after a field",
            section(&[indexed(17), literal("x-a", "1"), named(1, "/")]),
        ),
        ("status", with(&[indexed(25)])),
        ("another status", with(&[named(63, "200")])),
        ("unknown", with(&[literal(":shop", "1")])),
        ("unknown, Huffman coded", with(&[huffman(&[0xb8, 0x80])])),
        (
            "protocol twice",
            with(&[literal(":protocol", "a"), literal(":protocol", "b")]),
        ),
    ] {
        assert_eq!(check(&block, Section::Head), Err(Bad::Malformed), "{name}");
    }
}

#[test]
fn trailers_have_no_pseudo_fields() {
    let regular = section(&[literal("grpc-status", "0")]);
    assert_eq!(check(&regular, Section::Trailers), Ok(None));
    assert_eq!(check(&with(&[]), Section::Trailers), Err(Bad::Malformed));
}

#[test]
fn protocol_is_found_where_it_stands() {
    for field in [literal(":protocol", "websocket"), huffman(PSEUDO[PROTOCOL].1)] {
        let block = with(std::slice::from_ref(&field));
        let at = check(&block, Section::Head).unwrap().unwrap();
        assert_eq!(block[at], field[..]);
    }
}

#[test]
fn what_needs_a_dynamic_table_or_is_cut_short_cannot_be_decoded() {
    for (name, block) in [
        ("empty", vec![]),
        ("no base", vec![0]),
        ("insert count", vec![1, 0, 0xd1]),
        ("dynamic index", vec![0, 0, 0x80]),
        ("dynamic name", vec![0, 0, 0x40, 0]),
        ("post-base index", vec![0, 0, 0x10]),
        ("post-base name", vec![0, 0, 0x00, 0]),
        ("no value", vec![0, 0, 0x51]),
        ("value cut", vec![0, 0, 0x51, 5, b'/']),
        ("name cut", vec![0, 0, 0x23, b'a']),
        (
            "length without end",
            vec![0, 0, 0x51, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
    ] {
        assert_eq!(check(&block, Section::Head), Err(Bad::Undecodable), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_judged(block: Vec<u8>) {
        let _ = check(&block, Section::Head);
        let _ = check(&block, Section::Trailers);
    }
}
