//! Patterns of names: `*` is any text, `?` one character.

/// Whether the text matches the pattern, in time linear in their product.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // `reach` holds whether the pattern so far matches each beginning of the text.
    let mut reach = vec![false; text.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    for symbol in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        let mut any_before = false;
        for (at, cell) in next.iter_mut().enumerate() {
            let here = reach.get(at).copied().unwrap_or(false);
            let before = at
                .checked_sub(1)
                .and_then(|before| Some((reach.get(before).copied()?, text.get(before).copied()?)));
            any_before |= here;
            *cell = match (symbol, before) {
                ('*', _) => any_before,
                ('?', Some((matched, _))) => matched,
                (symbol, Some((matched, character))) => matched && character == symbol,
                (_, None) => false,
            };
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
}
