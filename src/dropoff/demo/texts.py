"""What bot and prospects say. Braces are filled with the contact's details; doubled braces stay as they are."""

BOT: dict[str, tuple[str, ...]] = {
    "greet:question": (
        "Hi {name}, thanks for looking at Brightdesk! What would you most like to get off your plate at work?{sign}",
        "Hello {name}! Quick question: how do you schedule customer visits at {company} today?{sign}",
    ),
    "greet:statement": (
        "Hi {name}, this is Brightdesk. We help teams like {company} plan customer visits in half the time.{sign}",
        "Hello {name}! Brightdesk is the leading scheduling suite for {industry} companies.{sign}",
    ),
    "greet:broken": ("Hi {{first_name}}, thanks for your interest in {{product_name}}!{sign}",),
    "follow_up": (
        "Hi {name}, just checking in – is scheduling still a topic at {company}?",
        "{name}, shall I send you a two-minute overview instead?",
    ),
    "ask_need": (
        "What takes most of your time today: planning, reminders or changes?",
        "Which part of scheduling hurts most at {company}?",
    ),
    "ask_team_size": ("How many people would work with it?", "Roughly how large is the team that plans visits?"),
    "ask_budget:1": ("What is your budget for this?", "How much can you spend per month?"),
    "ask_budget:2": (
        "Most teams your size choose the plan at $29 or $59 a seat. Which one sounds closer to what you need?",
        "So that I show you the right plan: would something around $29 a seat be realistic for {company}?",
    ),
    "pitch": (
        "Then this may fit: teams in {industry} save about 6 hours a week per planner with Brightdesk.",
        "That is exactly what Brightdesk does: it plans, reminds and re-plans on its own.",
    ),
    "answer_pricing": (
        "Plans start at $29 per seat and month, billed monthly.",
        "It is $29 or $59 a seat; no set-up fee.",
    ),
    "answer_product": ("Yes – it connects to Outlook, Google and most CRMs.", "Yes, that is included in every plan."),
    "offer_discount": (
        "I understand. I could offer you 15 % off the first year if you decide this month.",
        "Let me see what I can do: 15 % off for twelve months?",
    ),
    "share_case_study": (
        "I understand. Hollis & Reed had the same worry: they earned it back in 7 weeks. Here is how: https://brightdesk.example/hollis",
        'Fair point. A team like yours wrote: "It paid for itself in two months." https://brightdesk.example/stories',
    ),
    "answer_timing": ("No rush – many teams start with one calendar. Would a short look still help?",),
    "answer_trust": ("Good question: we are ISO 27001 certified, and your data stays in your region.",),
    "propose_meeting": (
        "Would a 20-minute demo help? I have {slot} free.",
        "Shall I book you a short call with {rep}, {slot}?",
    ),
    "propose_other_time": ("Of course – how about {slot}?",),
    "confirm_meeting": (
        "Booked: {slot} with {rep}. See you then, {name}!",
        "Done ✅ {slot}. The invitation is on its way.",
    ),
    "reminder": ("Hi {name}, a reminder of your demo tomorrow with {rep}.",),
    "goodbye": ("Thank you for your time, {name}. All the best to {company}!",),
    "fallback": (
        "Sorry, I did not get that. Could you put it another way?",
        "I am not sure I understood you. What do you mean?",
    ),
    "handover": ("I will bring in a colleague who can help you with this.",),
    "agent": (
        "Hi {name}, {rep} here – I have read along. Let me help.",
        "{rep} from Brightdesk: happy to answer that in person.",
    ),
}

PROSPECT: dict[str, tuple[str, ...]] = {
    "interested": (
        "Yes, tell me more",
        "Sounds useful for us at {company}",
        "We do most of it in spreadsheets, so… yes 🙂",
        "About 12 people, spread over two offices",
        "Mostly the changes. Everything moves twice a day",
        "ok that makes sense",
    ),
    "question_pricing": ("What does it cost?", "How much is it per user?", "Is there a free plan?"),
    "question_product": ("Does it work with Outlook & Google?", "Can customers book themselves?", "Is there an API?"),
    "objection_price": (
        "That's too expensive for us",
        "Hmm, that is more than we pay now",
        '"Only $29"? For 40 people that adds up',
        "Trop cher pour une équipe comme la nôtre…",
    ),
    "objection_timing": ("Not before next quarter", "We are in the middle of a move, maybe later"),
    "objection_trust": ("Where is our data stored?", "Never heard of you, who else uses it?"),
    "not_interested": ("No thanks", "Not interested", "We already have a tool, sorry"),
    "reschedule": ("That does not work for me, another day?", "Could we do it later that week?"),
    "confirm": ("Yes, that works", "Perfect 👍", "Great, see you then"),
    "smalltalk": ("Good morning!", "haha ok", "Are you a robot? 🤖"),
    "unclear": (
        "do u do the thing w/ the <b>vans</b> & routes?",
        "what about the other one",
        "asdf",
        "nein, ich meine die Filiale in Köln",
        'I said "no", but for the other site',
    ),
    "ask_human": ("Can I talk to a person?", "I'd rather speak with someone"),
    "complaint": ("This is not working", "You keep asking the same thing", "Hello?? That is not what I asked"),
    "opt_out": ("STOP",),
    "auto_reply": (
        "I am out of office until Monday and will answer then.",
        "Automatic reply: thank you for your message.",
    ),
}

# fmt: off
FIRST_NAMES = (
    "Anna", "Ben", "Carla", "David", "Elena", "Farid", "Grace", "Hiro", "Inés",
    "Jonas", "Kate", "Liam", "María", "Noah", "Olivia", "Paul", "Quinn", "Rosa",
    "Søren", "Tara", "Umar", "Věra", "Will", "Xenia", "Yusuf", "Zoë",
)
# fmt: on
COMPANIES = (
    "Alder Dental",
    "Bay & Sons",
    "Café Liberté",
    "Delta HVAC",
    "Elm Street Law",
    "Fjord Logistics",
    "Greenline",
    "Hollow Creek Homes",
    'Ink "n" Paper',
    "Juniper Health",
    "Kowalski Bau",
    "Lumen <b>Studios</b>",
    "Müller & Söhne",
    "Nova Robotics",
    "O'Neill Partners",
    "Pine Software",
)
REPS = ("rep_ada", "rep_bruno", "rep_chloe", "rep_dev", "rep_emre", "rep_fatima", "rep_george", "rep_hana")
