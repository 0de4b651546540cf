// Tables that sort at a click on a heading and are filtered by one column.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".sortable")) {
    const body = box.querySelector("tbody");
    const heads = [...box.querySelectorAll("th")];
    const key = (row, column) => row.cells[column].dataset.key;

    const sort = (column) => {
      const falling = heads[column].getAttribute("aria-sort") === "ascending";
      const rows = [...body.rows];
      const numbers = rows.every((row) => key(row, column) === "" || !isNaN(key(row, column)));
      const sign = falling ? -1 : 1;
      rows.sort((a, b) => {
        const [x, y] = [key(a, column), key(b, column)];
        if (x === "" || y === "") return (x === "") - (y === ""); // empty ones last
        return sign * (numbers ? x - y : x.localeCompare(y, "en", { numeric: true }));
      });
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      heads[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
      body.append(...rows);
    };
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));

    const select = box.querySelector("select");
    select?.addEventListener("change", () => {
      for (const row of body.rows) {
        row.hidden = select.value !== "" && key(row, select.dataset.column) !== select.value;
      }
    });
  }
});
