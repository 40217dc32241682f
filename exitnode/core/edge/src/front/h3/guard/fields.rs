//! What h3 doesn't check in a field section: pseudo-fields come first, each once, none in trailers (RFC 9114, 4.3). Pure.
//!
//! Reads QPACK (RFC 9204) only as far as names need; there is no dynamic table, since the edge offers none. Values and names
//! are h3's to decode and http's to judge. Called by sieve.rs with whole sections.

use std::ops::Range;

/// Why a section is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// No QPACK without a dynamic table.
    Undecodable,
    /// The message is malformed.
    Malformed,
}

/// Which section of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Head,
    Trailers,
}

/// Pseudo-fields of requests, as they may be written out: plain, and by the one Huffman coding that is valid.
const PSEUDO: [(&[u8], &[u8]); 5] = [
    (b":authority", &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f]),
    (b":path", &[0xb9, 0x58, 0xd3, 0x3f]),
    (b":method", &[0xb9, 0x49, 0x53, 0x39, 0xe4]),
    (b":scheme", &[0xb8, 0x82, 0x4e, 0x5a, 0x4b]),
    (b":protocol", &[0xb9, 0x5d, 0x87, 0x49, 0xc8, 0x7a, 0x3f]),
];
const PROTOCOL: usize = 4;
/// The first seven bits of a name that begins with a colon, Huffman coded.
const HUFFMAN_COLON: u8 = 0b101_1100;

/// The name of one field, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    /// Index in [`PSEUDO`].
    Pseudo(usize),
    /// A pseudo-field that no request has.
    Foreign,
    Regular,
}

/// Checks a section. `Some`: where `:protocol` stands. h3 would refuse all values of it without an answer; cut out, the request
/// is a CONNECT, which the rules answer with a page.
pub(super) fn check(block: &[u8], section: Section) -> Result<Option<Range<usize>>, Bad> {
    let mut reader = Reader { block, at: 0 };
    // Required Insert Count and Delta Base: both refer to the dynamic table.
    let (first, inserts) = reader.number(8)?;
    let _ = (first, reader.number(7)?);
    if inserts != 0 {
        return Err(Bad::Undecodable);
    }
    let (mut seen, mut regular, mut protocol) = ([false; PSEUDO.len()], false, None);
    while reader.at < block.len() {
        let start = reader.at;
        match reader.field()? {
            Name::Regular => regular = true,
            Name::Foreign => return Err(Bad::Malformed),
            Name::Pseudo(which) => {
                let twice = seen.get_mut(which).is_none_or(|seen| std::mem::replace(seen, true));
                if twice || regular || section == Section::Trailers {
                    return Err(Bad::Malformed);
                }
                if which == PROTOCOL {
                    protocol = Some(start..reader.at);
                }
            }
        }
    }
    Ok(protocol)
}

/// Entries of the static table that are pseudo-fields (RFC 9204, appendix A).
fn of_static_table(index: u64) -> Name {
    match index {
        0 => Name::Pseudo(0),
        1 => Name::Pseudo(1),
        15..=21 => Name::Pseudo(2),
        22 | 23 => Name::Pseudo(3),
        24..=28 | 63..=71 => Name::Foreign,
        _ => Name::Regular,
    }
}

fn of_literal(name: &[u8], huffman: bool) -> Name {
    let begins_with_colon = name.first().is_some_and(|first| {
        if huffman {
            first >> 1 == HUFFMAN_COLON
        } else {
            *first == b':'
        }
    });
    if !begins_with_colon {
        return Name::Regular;
    }
    let known = PSEUDO
        .iter()
        .position(|(plain, coded)| name == if huffman { *coded } else { *plain });
    known.map_or(Name::Foreign, Name::Pseudo)
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// One field line (RFC 9204, 4.5); leaves the reader behind it.
    fn field(&mut self) -> Result<Name, Bad> {
        let first = *self.block.get(self.at).ok_or(Bad::Undecodable)?;
        if first & 0x80 != 0 {
            let (first, index) = self.number(6)?;
            return (first & 0x40 != 0)
                .then(|| of_static_table(index))
                .ok_or(Bad::Undecodable);
        }
        if first & 0x40 != 0 {
            let (first, index) = self.number(4)?;
            self.string(7)?;
            return (first & 0x10 != 0)
                .then(|| of_static_table(index))
                .ok_or(Bad::Undecodable);
        }
        if first & 0x20 == 0 {
            return Err(Bad::Undecodable); // post-base: the dynamic table
        }
        let (first, name) = self.string(3)?;
        let name = of_literal(name, first & 0x08 != 0);
        self.string(7)?;
        Ok(name)
    }

    /// A string whose length has a prefix of `bits`; its Huffman flag is the bit above.
    fn string(&mut self, bits: u32) -> Result<(u8, &'a [u8]), Bad> {
        let (first, length) = self.number(bits)?;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length));
        let text = end
            .and_then(|end| self.block.get(self.at..end))
            .ok_or(Bad::Undecodable)?;
        self.at += text.len();
        Ok((first, text))
    }

    /// An integer with a prefix of `bits` (RFC 7541, 5.1), and the byte that it began in.
    fn number(&mut self, bits: u32) -> Result<(u8, u64), Bad> {
        let first = self.byte()?;
        let most = (1_u64 << bits) - 1;
        let mut value = u64::from(first) & most;
        if value < most {
            return Ok((first, value));
        }
        // No number in a section that fits the limits needs more than four bytes.
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value += u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((first, value));
            }
        }
        Err(Bad::Undecodable)
    }

    fn byte(&mut self) -> Result<u8, Bad> {
        let byte = *self.block.get(self.at).ok_or(Bad::Undecodable)?;
        self.at += 1;
        Ok(byte)
    }
}

#[cfg(test)]
#[path = "../tests/fields.rs"]
mod tests;
