package peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/** Counts the events of each call and writes one record an event: {@code CountCalls SETTINGS KEY=VALUE…}. */
public final class CountCalls {
    private static final String COUNTS = "counts";
    private static final JsonFactory JSON = new JsonFactory();

    record Event(String call, String type) {}

    record Counted(String call, String type, long count) {}

    public static void main(String[] args) throws Exception {
        var settings = new Properties();
        try (var file = Files.newBufferedReader(Path.of(args[0]))) {
            settings.load(file);
        }
        for (var setting : List.of(args).subList(1, args.length)) {
            var parts = setting.split("=", 2);
            settings.setProperty(parts[0], parts[1]);
        }
        var streams = new KafkaStreams(topology(settings), settings);
        var ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((now, before) -> {
            if (now.hasCompletedShutdown()) {
                ended.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
        ended.await();
    }

    private static Topology topology(Properties settings) {
        var supplier = settings.getProperty("peer.store").equals("memory")
                ? Stores.inMemoryKeyValueStore(COUNTS)
                : Stores.persistentKeyValueStore(COUNTS);
        var store = Stores.keyValueStoreBuilder(supplier, Serdes.String(), Serdes.Long());
        if (Boolean.parseBoolean(settings.getProperty("peer.cache"))) {
            store.withCachingEnabled();
        }
        var builder = new StreamsBuilder();
        builder.addStateStore(store);
        // Not count(): behind a cache it emits one record a call and commit, and this job is one record an event.
        builder.stream(settings.getProperty("peer.input"), Consumed.with(Serdes.String(), events()))
                .processValues(Counter::new, COUNTS)
                .to(settings.getProperty("peer.output"), Produced.with(Serdes.String(), counts()));
        return builder.build(settings);
    }

    private static final class Counter implements FixedKeyProcessor<String, Event, Counted> {
        private FixedKeyProcessorContext<String, Counted> context;
        private KeyValueStore<String, Long> counts;

        @Override
        public void init(FixedKeyProcessorContext<String, Counted> context) {
            this.context = context;
            counts = context.getStateStore(COUNTS);
        }

        @Override
        public void process(FixedKeyRecord<String, Event> record) {
            var event = record.value();
            var before = counts.get(event.call());
            var count = before == null ? 1 : before + 1;
            counts.put(event.call(), count);
            context.forward(record.withValue(new Counted(event.call(), event.type(), count)));
        }
    }

    private static Serde<Event> events() {
        return Serdes.serdeFrom((topic, event) -> { throw new UnsupportedOperationException(); }, (topic, bytes) -> {
            try (var json = JSON.createParser(bytes)) {
                return event(json);
            } catch (IOException failure) {
                throw new SerializationException("not an event", failure);
            }
        });
    }

    /** Reads the event to its end, so that what is no JSON is found, but keeps two fields only. */
    private static Event event(JsonParser json) throws IOException {
        String call = null;
        String type = null;
        json.nextToken();
        while (json.nextToken() == JsonToken.FIELD_NAME) {
            var field = json.currentName();
            json.nextToken();
            switch (field) {
                case "call_id" -> call = json.getText();
                case "type" -> type = json.getText();
                default -> json.skipChildren();
            }
        }
        if (call == null || type == null) {
            throw new SerializationException("an event without call_id or type");
        }
        return new Event(call, type);
    }

    private static Serde<Counted> counts() {
        return Serdes.serdeFrom((topic, counted) -> {
            var bytes = new ByteArrayOutputStream(128);
            try (JsonGenerator json = JSON.createGenerator(bytes)) {
                json.writeStartObject();
                json.writeStringField("call_id", counted.call());
                json.writeStringField("type", counted.type());
                json.writeNumberField("count", counted.count());
                json.writeEndObject();
            } catch (IOException failure) {
                throw new UncheckedIOException(failure);
            }
            return bytes.toByteArray();
        }, (topic, bytes) -> { throw new UnsupportedOperationException(); });
    }
}
