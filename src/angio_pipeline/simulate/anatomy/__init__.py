"""The patient as born: liver, arteries from the aorta, veins, tumours and what earlier operations left."""
