package peers;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Pattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Plays recorded calls over and over, each time under a fresh call_id, into a topic that is there already:
 * {@code Fill BOOTSTRAP TOPIC EVENTS SEED CALLS}. Many calls are open at a time; chance says which speaks next.
 */
public final class Fill {
    private static final int OPEN_CALLS = 1000;
    private static final Pattern CALL_ID = Pattern.compile("\"call_id\": *\"([^\"]+)\"");

    /** A line of the recording, cut where the call's number goes in. */
    record Line(String before, String callId, String after) {}

    private static final class OpenCall {
        final List<Line> lines;
        final String prefix;
        final byte[] key;
        int next;

        OpenCall(long number, List<List<Line>> recorded) {
            lines = recorded.get((int) (number % recorded.size()));
            prefix = String.format("%07d-", number);
            key = bytes(prefix + lines.get(0).callId());
        }

        byte[] speak() {
            var line = lines.get(next++);
            return bytes(line.before() + prefix + line.callId() + line.after());
        }

        boolean ended() {
            return next == lines.size();
        }
    }

    public static void main(String[] args) throws Exception {
        var topic = args[1];
        var events = Long.parseLong(args[2]);
        var random = new SplittableRandom(Long.parseLong(args[3]));
        var recorded = recorded(Path.of(args[4]));
        var open = new OpenCall[OPEN_CALLS];
        long calls = 0;
        for (int slot = 0; slot < OPEN_CALLS; slot++) {
            open[slot] = new OpenCall(calls++, recorded);
        }

        var settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("key.serializer", ByteArraySerializer.class);
        settings.put("value.serializer", ByteArraySerializer.class);
        settings.put("compression.type", "lz4");
        settings.put("batch.size", 131072);
        settings.put("linger.ms", 20);
        long written = 0;
        var began = System.nanoTime();
        var failed = new AtomicReference<Exception>();
        try (var producer = new KafkaProducer<byte[], byte[]>(settings)) {
            for (long event = 0; event < events && failed.get() == null; event++) {
                var slot = random.nextInt(OPEN_CALLS);
                var call = open[slot];
                var value = call.speak();
                written += value.length;
                producer.send(new ProducerRecord<>(topic, call.key, value), (metadata, failure) -> {
                    if (failure != null) {
                        failed.set(failure);
                    }
                });
                if (call.ended()) {
                    open[slot] = new OpenCall(calls++, recorded);
                }
            }
        }
        if (failed.get() != null) {
            throw failed.get();
        }
        var seconds = (System.nanoTime() - began) / 1e9;
        System.out.printf("%d events, %.0f MB, in %.1f s: %.0f events/s%n",
                events, written / 1e6, seconds, events / seconds);
    }

    private static List<List<Line>> recorded(Path file) throws Exception {
        var calls = new ArrayList<List<Line>>();
        for (var text : Files.readAllLines(file)) {
            var found = CALL_ID.matcher(text);
            if (!found.find()) {
                throw new IllegalArgumentException("a line without call_id: " + text);
            }
            var line = new Line(text.substring(0, found.start(1)), found.group(1), text.substring(found.end(1)));
            if (calls.isEmpty() || !calls.get(calls.size() - 1).get(0).callId().equals(line.callId())) {
                calls.add(new ArrayList<>());
            }
            calls.get(calls.size() - 1).add(line);
        }
        return calls;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
