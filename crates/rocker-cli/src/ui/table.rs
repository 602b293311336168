//! Tables in docker's exact layout: left-aligned, at least three blanks between columns,
//! columns at least ten wide, nothing after the last.

/// Columns are never narrower, blanks included.
const MIN_WIDTH: usize = 10;
const GAP: usize = 3;

/// Lays out `rows`, the header first. Every row ends with a newline and no padding.
///
/// Rows may have different numbers of cells: a column is as wide as its widest cell that
/// another cell follows.
pub(crate) fn layout<R: AsRef<[String]>>(rows: &[R]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        let cells = row.as_ref();
        let followed = cells.len().saturating_sub(1);
        for (column, cell) in cells[..followed].iter().enumerate() {
            let needed = (cell.chars().count() + GAP).max(MIN_WIDTH);
            match widths.get_mut(column) {
                Some(width) => *width = needed.max(*width),
                None => widths.push(needed),
            }
        }
    }
    let mut text = String::new();
    for row in rows {
        push_row(&mut text, row.as_ref(), &widths);
    }
    text
}

fn push_row(text: &mut String, cells: &[String], widths: &[usize]) {
    let last = cells.len().saturating_sub(1);
    for (column, cell) in cells.iter().enumerate() {
        text.push_str(cell);
        if column < last {
            let width = widths.get(column).copied().unwrap_or(MIN_WIDTH);
            let padding = width.saturating_sub(cell.chars().count());
            text.extend(std::iter::repeat_n(' ', padding));
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|c| (*c).to_owned()).collect()
    }

    #[test]
    fn a_table_looks_like_dockers() {
        let rows = [
            row(&[
                "CONTAINER ID",
                "IMAGE",
                "COMMAND",
                "CREATED",
                "STATUS",
                "PORTS",
                "NAMES",
            ]),
            row(&[
                "4c01db0b339c",
                "ubuntu:22.04",
                "\"bash\"",
                "16 seconds ago",
                "Up 16 seconds",
                "3300-3310/tcp",
                "webapp",
            ]),
        ];

        // The example of docker's page "docker container ls".
        let expected = "\
CONTAINER ID   IMAGE          COMMAND   CREATED          STATUS          PORTS           NAMES
4c01db0b339c   ubuntu:22.04   \"bash\"    16 seconds ago   Up 16 seconds   3300-3310/tcp   webapp
";
        assert_eq!(layout(&rows), expected);
    }

    #[test]
    fn widths_count_characters_and_empty_cells_keep_their_column() {
        let rows = [row(&["A", "B", "C"]), row(&["ééééééééééé", "", "x"])];

        assert_eq!(
            layout(&rows),
            "A             B         C\nééééééééééé             x\n"
        );
    }

    #[test]
    fn no_rows_give_no_text() {
        assert_eq!(layout::<Vec<String>>(&[]), "");
    }
}
