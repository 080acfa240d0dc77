"""Orders on a real topic into a real MariaDB: every column and cent, once; no older snapshot over a newer one."""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import datetime, timezone
from decimal import Decimal

import pytest
from tests.python.support import orders, topics
from tests.python.support.children import wait_until
from tests.python.support.loads import ALL_TABLES, Load
from tests.python.support.order_columns import KEYS, TABLES, Rules, newest

from pipeline_core import Stop, parse_walmart_orders
from pipeline_core.exceptions import RejectedError

REASON = "__connect.errors.exception.message"
PARTITIONS = 3


@pytest.fixture(scope="module")
def loaded(kafka, mariadb, tmp_path_factory) -> Load:
    """All orders of the sample on three partitions, in the tables."""
    load = Load(kafka, mariadb, tmp_path_factory.mktemp("loaded"), partitions=PARTITIONS)
    load.init()
    load.send(*orders.sample())
    report = load.run()
    lines = sum(len(orders.lines(json.loads(order))) for order in orders.sample())
    assert (report.pipeline, report.status) == ("walmart_to_mysql", "complete")
    assert (report.rows_read, report.rows_written, report.rows_rejected) == (orders.SAMPLE_ORDERS, lines, 0)
    assert report.bytes_read >= sum(map(len, orders.sample()))
    details = report.details
    assert details["tables"] == {ALL_TABLES[table]: len(load.rows(table)) for table in TABLES}
    assert (details["topic"], details["group_id"]) == (load.topic, load.database)
    assert (details["database"], details["orders"]) == (load.database, orders.SAMPLE_ORDERS)
    told = [details[name] for name in ("orders_older", "orders_unchanged", "values_cut", "dead_letters")]
    assert told == [0, 0, 0, 0]
    assert details["server"].startswith("MariaDB ")
    return load


@pytest.fixture
def load(kafka, mariadb, tmp_path) -> Load:
    """A topic of one partition and empty tables."""
    found = Load(kafka, mariadb, tmp_path)
    found.init()
    return found


def test_walmart_to_mysql_puts_every_column_of_every_order_into_its_table(loaded) -> None:
    loaded.assert_exact(orders.sample())


@pytest.mark.parametrize("table", ["charge", "refund"])
def test_the_sums_of_money_are_those_of_the_json_to_the_cent(loaded, table) -> None:
    by_type: Counter[str] = Counter()
    for order in orders.sample():
        for line in orders.lines(json.loads(order, parse_float=Decimal)):
            refunded = ((line["refund"] or {}).get("refundCharges") or {}).get("refundCharge") or []
            charges = line["charges"]["charge"] if table == "charge" else [given["charge"] for given in refunded]
            for charge in charges:
                by_type[charge["chargeType"]] += charge["chargeAmount"]["amount"]
    assert by_type
    summed = f"SELECT chargeType, SUM(chargeAmount) AS total FROM {ALL_TABLES[table]} GROUP BY chargeType"
    assert {row["chargeType"]: row["total"] for row in loaded.query(summed)} == by_type


def test_the_sum_of_all_taxes_is_that_of_the_json_to_the_cent(loaded) -> None:
    taxes = Decimal(0)
    for order in orders.sample():
        for line in orders.lines(json.loads(order, parse_float=Decimal)):
            for charge in line["charges"]["charge"]:
                taxes += charge["tax"]["taxAmount"]["amount"] if charge["tax"] else 0
    assert loaded.query(f"SELECT SUM(taxAmount) AS total FROM {ALL_TABLES['charge']}") == [{"total": taxes}]


def test_the_time_of_the_load_is_filled_in(kafka, mariadb, tmp_path) -> None:
    load = Load(kafka, mariadb, tmp_path)
    load.init()
    begun = datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None)
    load.send(*map(orders.made, range(5)))
    load.run()
    ended = datetime.now(timezone.utc).replace(tzinfo=None)
    times = [row["load_time"] for row in load.rows("order")]
    assert times
    assert all(begun <= time <= ended for time in times)


@pytest.mark.parametrize("again", ["in order", "in order once more", "in reverse", "by another group"])
def test_a_replay_changes_nothing_not_even_the_time_of_the_load(loaded, again) -> None:
    before = loaded.dump()
    changed = {"group_id": f"{loaded.database}-other"} if again == "by another group" else {}
    if not changed:
        loaded.send(*(reversed(orders.sample()) if again == "in reverse" else orders.sample()))
    report = loaded.run(**changed)
    assert loaded.dump() == before
    assert not any(report.details["tables"].values())
    if not changed:
        assert report.rows_read == report.details["orders_unchanged"] == orders.SAMPLE_ORDERS
        loaded.assert_exact(orders.sample())


def test_snapshots_in_any_order_leave_the_newest(kafka, mariadb, tmp_path) -> None:
    load = Load(kafka, mariadb, tmp_path, partitions=PARTITIONS, settings={"batch_size": 70})
    load.init()
    first = [orders.made(number) for number in range(120)]
    later = [orders.newer(order, days=2, status="Refunded") for order in first]
    between = [orders.newer(order) for order in first]
    sent = [*first[:60], *later[:80], *first[60:], *between, *reversed(later[60:]), *between[::3], *first[::5]]
    half = len(sent) // 2
    load.send(*sent[:half])
    load.run()
    load.assert_exact(sent[:half])
    load.send(*sent[half:])
    report = load.run()
    load.assert_exact(sent)
    assert set(newest(sent)) == set(later)
    assert report.details["orders_older"] > 0
    assert report.details["orders_unchanged"] > 0


def asked_at(order: bytes, time: str | None, city: str) -> bytes:
    """The order as the API gave it at another time."""

    def edit(document) -> None:
        document["request_time"] = time
        document["shippingInfo"]["postalAddress"]["city"] = city

    return orders.edited(order, edit)


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_of_one_status_date_the_later_request_counts_and_of_one_request_the_later_offset(load, is_one_batch) -> None:
    base = orders.made(10)
    steps = [
        asked_at(base, "2025-11-13 10:00:00", "first"),
        asked_at(base, "2025-11-13 09:59:59", "asked before"),
        asked_at(base, "2025-11-13 10:00:00", "of the same second"),
        asked_at(base, None, "asked nobody knows when"),
        asked_at(base, "2025-11-13 10:00:01", "asked after"),
        asked_at(orders.newer(base, days=-1), "2025-12-24 00:00:00", "asked after, of an older status"),
        asked_at(orders.newer(base), "2025-01-01 00:00:00", "of a newer status, asked before"),
    ]
    cities = ["first", "first", "of the same second", "of the same second", "asked after", "asked after"]
    cities.append("of a newer status, asked before")
    for number, step in enumerate(steps):
        load.send(step)
        if is_one_batch and number < len(steps) - 1:
            continue
        load.run()
        load.assert_exact(steps[: number + 1])
        assert {row["city"] for row in load.rows("order")} == {cities[number]}


def test_a_newer_snapshot_replaces_the_charges_statuses_and_refunds_of_its_lines(load) -> None:
    full = orders.sample()[0]

    def rich(document) -> None:
        [line, *_] = orders.lines(document)
        line["charges"]["charge"] *= 3
        line["orderLineStatuses"]["orderLineStatus"] *= 2
        line["refund"] = {
            "refundId": "R1",
            "refundCharges": {"refundCharge": [{"charge": line["charges"]["charge"][0]}]},
        }

    before = orders.edited(full, rich)
    load.send(before)
    load.run()
    assert [len(load.rows(table)) for table in ("charge", "status", "refund")] == [3, 2, 1]
    load.assert_exact([before])
    after = orders.newer(full)
    load.send(after)
    load.run()
    assert [len(load.rows(table)) for table in ("charge", "status", "refund")] == [1, 1, 0]
    load.assert_exact([before, after])


def test_two_lines_of_one_sku_are_two_rows(load) -> None:
    given = [orders.made(number) for number in range(0, 100, 10)]
    load.send(*given)
    load.run()
    load.assert_exact(given)
    doubled = "SELECT COUNT(*) - COUNT(DISTINCT purchaseOrderId, sku) AS more FROM walmart_order"
    assert load.query(doubled)[0]["more"] >= len(given)


def test_two_lines_that_have_nothing_but_a_number_are_two_rows(load) -> None:
    bare = orders.compact({"purchaseOrderId": 5, "orderLines": {"orderLine": [{"lineNumber": 1}, {"lineNumber": "2"}]}})
    load.send(bare)
    load.run()
    load.assert_exact([bare])


@pytest.mark.parametrize(
    "settings", [{"rows_per_statement": 1}, {"rows_per_statement": 1200}, {"batch_size": 1}], ids=str
)
def test_the_size_of_statements_and_batches_changes_no_row(load, settings) -> None:
    given = [orders.made(number) for number in range(150)]
    load.send(*given)
    load.run(**settings)
    load.assert_exact(given)


def test_several_connections_load_several_partitions(kafka, mariadb, tmp_path) -> None:
    given = [orders.made(number) for number in range(400)]
    load = Load(kafka, mariadb, tmp_path, partitions=6, settings={"connections": 4, "batch_size": 50})
    load.init()
    load.send(*given)
    load.run()
    load.assert_exact(given)


def test_fields_that_no_column_holds_are_kept_on_request(load) -> None:
    def odd(document) -> None:
        document["x-top"] = {"deep": ["mark-0 ü", 1.50]}
        orders.lines(document)[0]["x-line"] = "mark-1"

    given = [orders.edited(orders.made(number), odd) for number in range(3)]
    load.init(raw=True)
    load.init(raw=True)
    load.send(*given)
    load.run(raw=True)
    load.assert_exact(given)
    kept = [row["raw"] for row in load.rows("order")]
    text = "".join(json.dumps(json.loads(raw), ensure_ascii=False) for raw in kept if raw)
    assert min(text.count("mark-0 ü"), text.count("mark-1")) >= len(given)
    assert list(load.rows("order")[0])[:52] == [column.name for column in TABLES["order"]]
    load.send(*(orders.newer(order) for order in given))
    load.run(raw=True)
    assert "mark-1" in "".join(row["raw"] or "" for row in load.rows("order"))


def test_without_the_request_there_is_no_column_for_other_fields(load) -> None:
    load.send(orders.edited(orders.made(1), lambda order: order.update(unknown=1)))
    load.run()
    assert [*load.rows("order")[0]] == [column.name for column in TABLES["order"]]


def too_long(number: int) -> bytes:
    def edit(order) -> None:
        order["shippingInfo"]["phone"] = "7" * 30
        orders.lines(order)[0]["charges"]["charge"][0]["chargeAmount"]["amount"] = 12.345

    return orders.edited(orders.made(number), edit)


def test_what_does_not_fit_is_cut_on_request_and_counted(load) -> None:
    given = [orders.made(1), too_long(2), orders.made(3), too_long(4)]
    load.send(*given)
    report = load.run(truncate=True)
    load.assert_exact(given, Rules(truncate=True))
    cut = [row for row in load.rows("order") if row["phone"] == "7" * 20]
    assert {row["purchaseOrderId"] for row in cut} == {orders.FIRST_ID + 2, orders.FIRST_ID + 4}
    assert report.details["values_cut"] >= 2 * 2
    assert (report.rows_rejected, load.letters()) == (0, [])


def test_what_does_not_fit_is_a_dead_letter_without_the_request(load) -> None:
    given = [orders.made(1), too_long(2), orders.made(3), too_long(4)]
    load.send(*given)
    report = load.run()
    load.assert_exact(given[::2])
    assert (report.rows_rejected, report.details["values_cut"], report.details["dead_letters"]) == (2, 0, 2)
    assert [letter.value for letter in load.letters()] == given[1::2]


GUILTY = {0, 13, 14, 57, 99}
NARROWED = {
    "order": "ALTER TABLE walmart_order MODIFY city VARCHAR(8)",
    "charge": "ALTER TABLE walmart_order_charge MODIFY chargeName VARCHAR(9)",
}


def too_long_for_the_database(number: int, base: bytes) -> bytes:
    """For tables that were narrowed; the parser, which knows the contract's, lets it pass."""

    def edit(order) -> None:
        order["shippingInfo"]["postalAddress"]["city"] = "Testburg, the newer part"
        orders.lines(order)[-1]["charges"]["charge"][0]["chargeName"] = f"A long name {number}"

    return orders.edited(base, edit)


@pytest.mark.parametrize("are_known", [False, True])
@pytest.mark.parametrize("narrowed", NARROWED)
def test_of_a_batch_that_the_database_refuses_only_the_guilty_orders_are_dead_letters(
    load, narrowed, are_known
) -> None:
    before = [orders.made(number) for number in range(100)]
    loaded_before = before if are_known else []
    if are_known:
        load.send(*before)
        load.run()
    load.query(NARROWED[narrowed])
    given = [orders.newer(order) if are_known else order for order in before]
    sent = [too_long_for_the_database(at, order) if at in GUILTY else order for at, order in enumerate(given)]
    good = [order for at, order in enumerate(sent) if at not in GUILTY]
    bad = [sent[at] for at in sorted(GUILTY)]
    load.send(*sent)
    report = load.run(batch_size=10_000, batch_interval_ms=10_000)
    load.assert_exact([*loaded_before, *good])
    assert (report.rows_read, report.rows_rejected, report.details["dead_letters"]) == (100, len(bad), len(bad))
    lines = sum(len(orders.lines(json.loads(order))) for order in good)
    assert (report.rows_written, report.details["orders"]) == (lines, len(good))
    versions = 100 if are_known else len(good)
    assert load.query("SELECT COUNT(*) AS versions FROM walmart_order_version") == [{"versions": versions}]
    letters = sorted(load.letters(), key=lambda letter: int(letter.headers["__connect.errors.offset"]))
    assert [(letter.key, letter.value) for letter in letters] == [(str(orders.id_of(one)).encode(), one) for one in bad]
    offsets = [int(letter.headers["__connect.errors.offset"]) for letter in letters]
    assert offsets == [at + len(loaded_before) for at in sorted(GUILTY)]
    column = NARROWED[narrowed].split()[-2]
    assert all(column in letter.headers[REASON] for letter in letters), letters[0].headers[REASON]
    assert load.run().rows_read == 0
    assert len(load.letters()) == len(bad), "They are not sent again"


def test_of_an_array_that_the_database_refuses_only_the_guilty_order_is_a_dead_letter(load) -> None:
    load.query(NARROWED["order"])
    given = [orders.made(number) for number in range(4)]
    guilty = too_long_for_the_database(9, orders.made(9))
    load.send((b"k", array(*given[:2], guilty, *given[2:])))
    report = load.run(max_rejected_share=1)
    load.assert_exact(given)
    assert report.rows_rejected == 1
    assert [(letter.key, letter.value) for letter in load.letters()] == [(b"k", guilty)]


def test_one_message_may_hold_orders_that_the_parser_refuses_and_others_that_the_database_does(load) -> None:
    load.query(NARROWED["order"])
    by_parser = [
        orders.edited(orders.made(number), lambda order: order.update(purchaseOrderId=None)) for number in (1, 2)
    ]
    by_database = [too_long_for_the_database(number, orders.made(number)) for number in (3, 7)]
    other = too_long_for_the_database(5, orders.made(5))
    load.send((b"k", array(by_parser[0], by_database[0], by_parser[1], by_database[1], orders.made(9))), (b"l", other))
    report = load.run(max_rejected_share=1)
    load.assert_exact([orders.made(9)])
    assert (report.rows_rejected, report.details["retries"]) == (5, 0)
    assert sorted(letter.value or b"" for letter in load.letters()) == sorted([*by_parser, *by_database, other])


def test_more_that_the_database_refuses_than_allowed_ends_the_run(load) -> None:
    load.query(NARROWED["order"])
    load.send(*[too_long_for_the_database(number, orders.made(number)) for number in range(150)])
    with pytest.raises(RejectedError, match="max_rejected_share"):
        load.run(batch_size=120)
    assert len(load.letters()) >= 100


def test_orders_of_which_the_database_takes_none_are_all_dead_letters(load) -> None:
    load.query(NARROWED["charge"])
    sent = [too_long_for_the_database(number, orders.made(number)) for number in range(7)]
    load.send(*sent)
    report = load.run(max_rejected_share=1)
    assert (report.rows_rejected, report.rows_written) == (7, 0)
    assert sorted(letter.value or b"" for letter in load.letters()) == sorted(sent)
    assert not any(load.dump().values())
    assert load.is_at_end()


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Kolkata"])
def test_formatted_columns_are_of_the_stated_zone(load, zone) -> None:
    given = [
        orders.edited(orders.made(number), lambda order, number=number: order.update(orderDate=summer_time(number)))
        for number in range(96)
    ]
    load.send(*given)
    load.run(formatted_timezone=zone)
    rules = Rules(formatted_timezone=zone)
    load.assert_exact(given, rules)
    expected = rules.all_tables(given)["order"]
    shifts = {row["orderDate"] // 1000 - int(epoch(row["orderDate_formatted"])) for row in expected}
    assert len(shifts) == (2 if zone.startswith("America") else 1), "Both sides of the end of summer time"


def summer_time(number: int) -> int:
    """Instants a quarter of an hour apart, around the end of summer time in America on 2 November 2025."""
    return 1_762_074_000_000 + (number - 48) * 900_000


def epoch(moment: datetime) -> float:
    return moment.replace(tzinfo=timezone.utc).timestamp()


def test_the_name_of_the_source_is_a_setting(load) -> None:
    load.send(orders.made(1))
    load.run(source_file="replay-2025")
    load.assert_exact([orders.made(1)], Rules(source_file="replay-2025"))


def array(*documents: bytes) -> bytes:
    return b"[" + b", ".join(documents) + b"]"


def test_an_array_of_orders_loses_only_the_bad_ones(load) -> None:
    bad = [
        orders.edited(orders.made(11), lambda order: order.update(purchaseOrderId=None)),
        orders.edited(orders.made(13), lambda order: orders.lines(order)[0]["item"].update(sku=[])),
    ]
    sent = array(orders.made(10), bad[0], orders.made(12), bad[1], orders.made(14))
    load.send((b"three good", sent), (b"one", orders.made(15)), (None, array()))
    report = load.run()
    load.assert_exact([orders.made(number) for number in (10, 12, 14, 15)])
    assert (report.rows_read, report.rows_rejected) == (3, 2)
    letters = load.letters()
    assert [json.loads(letter.value or b"") for letter in letters] == [json.loads(order) for order in bad]
    for letter, path in zip(letters, ("$.purchaseOrderId", "$.orderLines.orderLine[0].item.sku"), strict=True):
        assert letter.key == b"three good"
        assert path in letter.headers[REASON]
        assert letter.headers["__connect.errors.offset"] == "0"


def test_snapshots_of_an_order_in_one_array_leave_the_newest(load) -> None:
    base = orders.made(20)
    load.send((b"20", array(orders.newer(base), base, orders.newer(base, days=2), orders.newer(base))))
    load.run()
    load.assert_exact([orders.newer(base, days=2)])


def test_refused_messages_keep_key_and_bytes_and_say_where_they_came_from(load) -> None:
    bad = [
        (b"\xff key", b"\xff\xfe\x00"),
        (None, b"{"),
        (b"", b'{"purchaseOrderId":"1","orderDate":1e99,"orderLines":{"orderLine":{"lineNumber":1}}}'),
        (b"k", None),
    ]
    load.send(*bad, orders.made(1))
    report = load.run()
    load.assert_exact([orders.made(1)])
    assert (report.rows_read, report.rows_rejected) == (5, 4)
    letters = load.letters()
    assert [(letter.key, letter.value) for letter in letters] == bad
    for offset, letter in enumerate(letters):
        origin = [letter.headers[f"__connect.errors.{word}"] for word in ("topic", "partition", "offset")]
        assert origin == [load.topic, "0", str(offset)]
        assert letter.headers[REASON]
    assert "$.orderDate" in letters[2].headers[REASON]
    assert load.run().rows_read == 0
    assert len(load.letters()) == len(bad), "They are not sent again"


def test_dead_letters_go_to_the_topic_s_own_without_a_setting(load) -> None:
    load.send((b"k", b"bad"))
    load.run(dead_letter_topic=None)
    assert [letter.value for letter in topics.dead_letters(load.kafka, load.topic)] == [b"bad"]


def test_more_bad_orders_than_allowed_end_the_run_and_are_in_the_dead_letters(load) -> None:
    load.send(*[(b"k", b"bad")] * 300, orders.made(1))
    with pytest.raises(RejectedError, match="max_rejected_share") as failed:
        load.run(batch_size=50)
    assert failed.value.hint
    assert len(load.letters()) >= 100


def test_a_run_ends_after_so_many_rows_and_the_next_goes_on(load) -> None:
    given = [orders.made(number) for number in range(300)]
    load.send(*given)
    report = load.run(until="50rows", batch_size=10)
    assert report.status == "complete"
    assert 50 <= report.rows_read < 300
    assert load.positions() == {0: report.rows_read}
    following = load.run()
    assert following.rows_read == 300 - report.rows_read
    load.assert_exact(given)


def test_a_run_ends_after_a_while_and_what_came_in_between_is_loaded(load) -> None:
    load.send(orders.made(1))
    late = threading.Thread(target=lambda: (wait_until(load.is_at_end, "one is loaded"), load.send(orders.made(2))))
    late.start()
    report = load.run(until="8s", batch_interval_ms=100)
    late.join()
    assert report.status == "complete"
    assert 8 <= report.seconds < 30
    load.assert_exact([orders.made(1), orders.made(2)])


def test_a_run_is_stopped_after_what_it_has_read_is_loaded(load) -> None:
    stop = Stop()
    load.send(*map(orders.made, range(20)))
    stopper = threading.Thread(target=lambda: (wait_until(load.is_at_end, "all is loaded"), stop.set()))
    stopper.start()
    report = load.run(until="stopped", stop=stop, batch_interval_ms=100)
    stopper.join()
    assert report.status == "stopped"
    load.assert_exact([orders.made(number) for number in range(20)])


def test_a_new_group_may_begin_with_the_latest(load) -> None:
    load.send(*map(orders.made, range(5)))
    report = load.run(auto_offset_reset="latest")
    assert (report.rows_read, load.rows("order")) == (0, [])


def test_the_tables_may_have_another_name(kafka, mariadb, tmp_path) -> None:
    load = Load(kafka, mariadb, tmp_path)
    load.init(table="orders_2025")
    load.send(orders.made(10))
    report = load.run(table="orders_2025")
    written = {"orders_2025", "orders_2025_charge", "orders_2025_status", "orders_2025_refund"}
    assert set(report.details["tables"]) == written
    assert {*written, "orders_2025_version"} <= load.tables()
    assert len(load.query("SELECT * FROM orders_2025")) == len(Rules().tables(orders.made(10))["order"])


def test_the_child_tables_are_what_the_parser_gives(loaded) -> None:
    for table in ("charge", "status", "refund"):
        given = parse_walmart_orders(list(orders.sample()), table=table).to_pylist()
        assert loaded.rows(table) == sorted(given, key=lambda row, table=table: [row[name] for name in KEYS[table]])
