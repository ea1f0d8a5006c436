"""Counts the events of each call and writes one record an event.

usage: count_calls.py SETTINGS BROKER GROUP INPUT OUTPUT FOLDER
"""

import configparser
import sys

from quixstreams import Application


def count(event, state):
    counted = state.get("count", 0) + 1
    state.set("count", counted)
    return {"call_id": event["call_id"], "type": event["type"], "count": counted}


def main(settings_file, broker, group, source, sink, folder):
    settings = configparser.ConfigParser()
    settings.read(settings_file)
    app = Application(
        broker_address=broker,
        consumer_group=group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=settings.getfloat("application", "commit_interval"),
        consumer_extra_config=dict(settings["consumer"]),
        producer_extra_config=dict(settings["producer"]),
        state_dir=folder,
        loglevel="WARNING",
    )
    events = app.dataframe(app.topic(source, value_deserializer="json"))
    events.apply(count, stateful=True).to_topic(app.topic(sink, value_serializer="json"))
    app.run()


main(*sys.argv[1:])
